//! A fake of the one call of EC2 that the loader makes.

use std::fmt::Write as _;

use super::server::{Request, Response};

/// Answers `DescribeRegions` with Regions and their `optInStatus`. Without `AllRegions` those that are not opted in
/// are left out, as EC2 does.
pub(crate) fn regions(request: &Request, regions: &[(&str, &str)]) -> Response {
    if request.action() != "DescribeRegions" {
        return Response::xml_error(400, "InvalidAction", &request.action());
    }
    let all = request.form("AllRegions").as_deref() == Some("true");
    let mut items = String::new();
    for (name, status) in regions.iter().filter(|(_, status)| all || *status != "not-opted-in") {
        writeln!(
            items,
            "<item><optInStatus>{status}</optInStatus><regionName>{name}</regionName>\
             <regionEndpoint>ec2.{name}.amazonaws.com</regionEndpoint></item>"
        )
        .unwrap();
    }
    Response::xml(
        200,
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DescribeRegionsResponse \
             xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>1</requestId>\
             <regionInfo>{items}</regionInfo></DescribeRegionsResponse>"
        ),
    )
}

/// Refuses, as EC2 does it.
pub(crate) fn denied() -> Response {
    Response::xml(
        403,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>UnauthorizedOperation</Code>\
         <Message>You are not authorized to perform this operation. User: arn:aws:iam::111122223333:user/loader is \
         not authorized to perform: ec2:DescribeRegions because no identity-based policy allows the \
         ec2:DescribeRegions action</Message></Error></Errors><RequestID>r-1</RequestID></Response>",
    )
}
