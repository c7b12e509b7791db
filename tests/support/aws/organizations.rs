//! A fake of the one call of Organizations that the loader makes.

use serde_json::{Value, json};

use super::server::{Request, Response};

/// Answers `ListAccounts` with accounts as the service would write them, two a page. A page in between is empty
/// but for its token, which the API allows.
pub(crate) fn accounts(request: &Request, accounts: &[Value]) -> Response {
    const PAGE: usize = 2;
    if request.header("x-amz-target") != Some("AWSOrganizationsV20161128.ListAccounts") {
        return Response::json_error(400, "UnknownOperationException", "");
    }
    let asked = request.json();
    let token = asked.get("NextToken").and_then(Value::as_str).unwrap_or("at-0");
    if let Some(start) = token.strip_prefix("empty-") {
        return Response::json(200, &json!({"Accounts": [], "NextToken": format!("at-{start}")}));
    }
    let Some(start) = token.strip_prefix("at-").and_then(|at| at.parse::<usize>().ok()) else {
        return Response::json_error(
            400,
            "InvalidInputException",
            "You specified an invalid value.",
        );
    };
    let page: Vec<&Value> = accounts.iter().skip(start).take(PAGE).collect();
    let mut answer = json!({"Accounts": page});
    if start + PAGE < accounts.len() {
        answer["NextToken"] = format!("empty-{}", start + PAGE).into();
    }
    Response::json(200, &answer)
}

/// An account as the service writes it.
pub(crate) fn account(id: &str, name: &str, state: &str) -> Value {
    json!({
        "Arn": format!("arn:aws:organizations::111122223333:account/o-example/{id}"),
        "Email": "owner@example.com",
        "Id": id,
        "JoinedMethod": "INVITED",
        "JoinedTimestamp": 1_700_000_000.5,
        "Name": name,
        "State": state,
        "Status": state,
    })
}

/// Refuses, as Organizations does it for a member account.
pub(crate) fn denied() -> Response {
    Response::json_error(
        400,
        "AccessDeniedException",
        "You don't have permissions to access this resource.",
    )
}
