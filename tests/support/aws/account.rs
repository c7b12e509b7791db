//! A fake of the one call of Account Management that the loader makes.

use serde_json::{Value, json};

use super::server::{Request, Response};

/// Answers `ListRegions`, two Regions a page, strict on the token and on the filter.
pub(crate) fn regions(request: &Request, regions: &[(&str, &str)]) -> Response {
    const PAGE: usize = 2;
    if request.path != "/listRegions" || request.method != "POST" {
        return Response::json_error(404, "UnknownOperationException", &request.path);
    }
    let asked = request.json();
    let filter = asked.get("RegionOptStatusContains").and_then(Value::as_array);
    let wanted: Vec<&(&str, &str)> = regions
        .iter()
        .filter(|(_, status)| filter.is_none_or(|list| list.iter().any(|it| it == status)))
        .collect();
    let start = match asked.get("NextToken").and_then(Value::as_str) {
        None => 0,
        Some(token) => match token.strip_prefix("page-").and_then(|at| at.parse().ok()) {
            Some(start) => start,
            None => return Response::json_error(400, "ValidationException", "bad token"),
        },
    };
    let page: Vec<Value> = wanted
        .iter()
        .skip(start)
        .take(PAGE)
        .map(|(name, status)| json!({"RegionName": name, "RegionOptStatus": status}))
        .collect();
    let mut answer = json!({"Regions": page});
    if start + PAGE < wanted.len() {
        answer["NextToken"] = format!("page-{}", start + PAGE).into();
    }
    Response::json(200, &answer)
}

/// Refuses, as Account Management does it: the code is in a header.
pub(crate) fn denied() -> Response {
    let message = "User: arn:aws:iam::111122223333:user/loader is not authorized to perform: account:ListRegions";
    Response::json(403, &json!({"message": message}))
        .header("x-amzn-errortype", "AccessDeniedException:http://internal.example/")
        .header("x-amzn-requestid", "r-2")
}
