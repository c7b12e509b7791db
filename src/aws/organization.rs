//! The accounts of an organization.
//!
//! Absent on purpose: organizational units; whoever wants some accounts only names them.

use serde_json::{Value, json};

use super::{Access, Error, call::Question};

/// An account of an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// 12 digits.
    pub id: String,
    /// The name its owner gave it.
    pub name: String,
}

const ACTION: &str = "ListAccounts";

/// Asks for all pages, and returns the accounts that are active, by number.
pub(super) async fn accounts(access: &Access) -> Result<Vec<Member>, Error> {
    let mut members = Vec::new();
    let mut token = None;
    loop {
        let page = page(access, token.as_deref()).await?;
        let Some(listed) = page.get("Accounts").and_then(Value::as_array) else {
            return Err(access.lacks("organizations", ACTION, "Accounts"));
        };
        members.extend(listed.iter().filter(|account| is_active(account)).filter_map(member));
        let next = page.get("NextToken").and_then(Value::as_str).map(str::to_owned);
        // A token that does not change would be asked for ever.
        if next.is_none() || next == token {
            break;
        }
        token = next;
    }
    members.sort_by(|a: &Member, b: &Member| a.id.cmp(&b.id));
    members.dedup();
    Ok(members)
}

async fn page(access: &Access, token: Option<&str>) -> Result<Value, Error> {
    let question = Question {
        service: "organizations",
        region: access.partition().control_region().to_owned(),
        path: "/",
        headers: vec![
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "AWSOrganizationsV20161128.ListAccounts"),
        ],
        body: token.map_or_else(|| json!({}), |token| json!({"NextToken": token})).to_string(),
    };
    let body = access.ask(&question).await;
    let body = body.map_err(|refusal| access.failed(ACTION, &question, refusal))?;
    serde_json::from_slice(&body).map_err(|_| access.lacks("organizations", ACTION, "JSON"))
}

/// `State` is what newer answers say, `Status` what older ones did; a closed account refuses its role anyway.
fn is_active(account: &Value) -> bool {
    let word = account.get("State").or_else(|| account.get("Status"));
    word.and_then(Value::as_str) == Some("ACTIVE")
}

fn member(account: &Value) -> Option<Member> {
    let text = |name: &str| account.get(name).and_then(Value::as_str);
    Some(Member { id: text("Id")?.to_owned(), name: text("Name").unwrap_or_default().to_owned() })
}
