//! Discovery of Regions, organization accounts and trails.

use std::sync::Arc;

use serde_json::json;
use trailload::aws::{
    AwsPartition, ErrorKind, OrganizationAccount, RegionSource, Session, discovery,
};

use crate::support::{
    aws::{
        KEY, SECRET, Service, account, cloud, ec2, options, organizations,
        server::{Response, Server},
        sts::Sts,
    },
    signature, wire,
};

const DESCRIBED: [(&str, &str); 5] = [
    ("eu-west-1", "opt-in-not-required"),
    ("ap-south-2", "opted-in"),
    ("me-south-1", "not-opted-in"),
    ("us-east-1", "opt-in-not-required"),
    ("us-west-2", "opt-in-not-required"),
];

const LISTED: [(&str, &str); 7] = [
    ("af-south-1", "DISABLED"),
    ("ap-south-2", "ENABLED"),
    ("eu-central-2", "ENABLING"),
    ("eu-west-1", "ENABLED_BY_DEFAULT"),
    ("me-south-1", "DISABLING"),
    ("us-east-1", "ENABLED_BY_DEFAULT"),
    ("us-west-2", "ENABLED_BY_DEFAULT"),
];

fn start(services: Vec<(&'static str, Service)>) -> Server {
    cloud(&Arc::new(Sts::new()), services)
}

fn says(answer: Response) -> Service {
    Box::new(move |_| answer.clone())
}

async fn session(server: &Server) -> Session {
    let session = Session::load(&options(server)).await.unwrap();
    session.identity().await.unwrap();
    session
}

#[tokio::test]
async fn ec2_lists_the_enabled_regions() {
    let server = start(vec![("ec2", Box::new(|request| ec2::regions(request, &DESCRIBED)))]);
    let regions = discovery::enabled_regions(&session(&server).await).await.unwrap();
    assert_eq!(regions.names, ["us-east-1", "ap-south-2", "eu-west-1", "us-west-2"]);
    assert_eq!((regions.source, regions.warning), (RegionSource::Described, None));
    let asked = &server.requests()[1];
    assert_eq!(asked.region(), Some("us-east-1"));
    assert_eq!(asked.form("Version").as_deref(), Some("2016-11-15"));
}

#[tokio::test]
async fn account_management_is_used_if_ec2_denies() {
    let server = start(vec![
        ("ec2", says(ec2::denied())),
        ("account", Box::new(|request| account::regions(request, &LISTED))),
    ]);
    let regions = discovery::enabled_regions(&session(&server).await).await.unwrap();
    assert_eq!(regions.names, ["us-east-1", "ap-south-2", "eu-west-1", "me-south-1", "us-west-2"]);
    assert_eq!((regions.source, regions.warning), (RegionSource::Listed, None));
    assert_eq!(server.count("ListRegions"), 3, "two a page");
    assert_eq!(server.count("DescribeRegions"), 1, "a refusal is not repeated");
}

#[tokio::test]
async fn the_built_in_regions_are_the_last_resort_with_a_warning() {
    let server = start(vec![("ec2", says(ec2::denied())), ("account", says(account::denied()))]);
    let regions = discovery::enabled_regions(&session(&server).await).await.unwrap();
    assert_eq!(regions.source, RegionSource::BuiltIn);
    assert_eq!(regions.names[0], "us-east-1");
    assert_eq!(regions.names.len(), AwsPartition::Aws.regions().len());
    let warning = regions.warning.unwrap();
    for part in ["ec2:DescribeRegions", "account:ListRegions", "--regions", "UnauthorizedOperation"]
    {
        assert!(warning.contains(part), "{part}: {warning}");
    }
}

#[tokio::test]
async fn an_unreachable_endpoint_is_survived() {
    let server =
        start(vec![("ec2", says(Response::reset())), ("account", says(Response::reset()))]);
    let regions = discovery::enabled_regions(&session(&server).await).await.unwrap();
    assert_eq!(regions.source, RegionSource::BuiltIn);
    assert_eq!(server.count("DescribeRegions"), 3);
}

#[tokio::test]
async fn the_global_region_is_always_included() {
    let only = [("eu-west-1", "opt-in-not-required")];
    let server = start(vec![("ec2", Box::new(move |request| ec2::regions(request, &only)))]);
    let regions = discovery::enabled_regions(&session(&server).await).await.unwrap();
    assert_eq!(regions.names, ["us-east-1", "eu-west-1"]);
}

#[tokio::test]
async fn each_partition_has_its_own_regions_and_global_region() {
    for (region, arn, expected, control) in [
        ("cn-northwest-1", "arn:aws-cn:iam::444455556666:user/u", "cn-north-1", "cn-northwest-1"),
        (
            "us-gov-east-1",
            "arn:aws-us-gov:iam::444455556666:user/u",
            "us-gov-west-1",
            "us-gov-west-1",
        ),
    ] {
        let sts = Arc::new(Sts::new());
        sts.user(KEY, arn);
        let refusals = vec![("ec2", says(ec2::denied())), ("account", says(account::denied()))];
        let server = cloud(&sts, refusals);
        let mut options = options(&server);
        options.region = Some(region.to_owned());
        let session = Session::load(&options).await.unwrap();
        let identity = session.identity().await.unwrap();
        assert_eq!(identity.partition, AwsPartition::from_region(region).unwrap());
        let regions = discovery::enabled_regions(&session).await.unwrap();
        assert_eq!(regions.names[0], expected);
        assert_eq!(regions.names.len(), 2);
        let signed: Vec<_> =
            server.requests().iter().map(|it| it.region().unwrap().to_owned()).collect();
        assert_eq!(signed, [region, region, control]);
    }
}

#[tokio::test]
async fn invalid_credentials_are_not_hidden_by_the_built_in_regions() {
    let body =
        "<Response><Errors><Error><Code>SignatureDoesNotMatch</Code></Error></Errors></Response>";
    let server = start(vec![("ec2", says(Response::xml(403, body)))]);
    let error = discovery::enabled_regions(&session(&server).await).await.unwrap_err();
    assert_eq!(error.service_error().unwrap().kind, ErrorKind::InvalidCredentials);
    assert!(error.to_string().contains("account 111122223333: ec2:DescribeRegions"), "{error}");
}

#[tokio::test]
async fn the_active_accounts_of_an_organization_are_listed() {
    let accounts = [
        organizations::account("444455556666", "four", "ACTIVE"),
        organizations::account("111122223333", "one", "ACTIVE"),
        organizations::account("222233334444", "two", "SUSPENDED"),
        organizations::account("333344445555", "three", "PENDING_CLOSURE"),
        // As answers were before `State` came.
        json!({"Id": "555566667777", "Name": "five", "Status": "ACTIVE"}),
    ];
    let server = start(vec![(
        "organizations",
        Box::new(move |request| organizations::accounts(request, &accounts)),
    )]);
    let members = discovery::organization_accounts(&session(&server).await).await.unwrap();
    let member =
        |id: &str, name: &str| OrganizationAccount { id: id.to_owned(), name: name.to_owned() };
    assert_eq!(
        members,
        [
            member("111122223333", "one"),
            member("444455556666", "four"),
            member("555566667777", "five")
        ]
    );
    assert_eq!(server.count("ListAccounts"), 5, "three pages, and two empty ones between them");
}

#[tokio::test]
async fn throttled_requests_are_retried() {
    let accounts = [organizations::account("444455556666", "four", "ACTIVE")];
    let server = start(vec![(
        "organizations",
        Box::new(move |request| organizations::accounts(request, &accounts)),
    )]);
    server.next("ListAccounts", Response::json_error(400, "TooManyRequestsException", "slower"));
    server.next("ListAccounts", Response::json_error(500, "ServiceException", "oh"));
    assert_eq!(discovery::organization_accounts(&session(&server).await).await.unwrap().len(), 1);
    assert_eq!(server.count("ListAccounts"), 3);
}

#[tokio::test]
async fn a_member_account_may_not_list_its_organization() {
    let server = start(vec![("organizations", says(organizations::denied()))]);
    let error = discovery::organization_accounts(&session(&server).await).await.unwrap_err();
    assert!(matches!(error.service_error().unwrap().kind, ErrorKind::AccessDenied { .. }));
    assert!(error.hint().unwrap().contains("trailload policy"));
}

#[tokio::test]
async fn a_trail_has_its_bucket_and_prefix() {
    let told = json!({"trailList": [
        {"Name": "all", "TrailARN": "arn:aws:cloudtrail:eu-west-1:111122223333:trail/all",
         "HomeRegion": "eu-west-1", "S3BucketName": "logs", "S3KeyPrefix": "ct/",
         "IsOrganizationTrail": true, "IsMultiRegionTrail": true},
        {"Name": "broken"},
    ]});
    let server = start(vec![("cloudtrail", says(Response::json(200, &told)))]);
    let session = session(&server).await;
    server
        .next("DescribeTrails", Response::json_error(400, "ThrottlingException", "Rate exceeded"));
    let trails = discovery::trails(&session, "eu-west-1", Some("all")).await.unwrap();
    assert_eq!(trails.len(), 1);
    assert_eq!((trails[0].bucket.as_str(), trails[0].key_prefix.as_deref()), ("logs", Some("ct")));
    assert!(trails[0].is_organization_trail && trails[0].is_multi_region);
    let asked = server.requests().last().unwrap().json();
    assert_eq!(asked, json!({"trailNameList": ["all"], "includeShadowTrails": true}));
    assert_eq!(
        server.count("DescribeTrails"),
        2,
        "no limiter stands before it, so the client waits"
    );
}

#[tokio::test]
async fn signed_api_requests_are_accepted() {
    let server = start(vec![
        ("ec2", says(ec2::denied())),
        ("account", Box::new(|request| account::regions(request, &LISTED))),
        ("organizations", says(Response::json(200, &json!({"Accounts": []})))),
    ]);
    let session = session(&server).await;
    discovery::enabled_regions(&session).await.unwrap();
    discovery::organization_accounts(&session).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 6);
    for request in requests {
        // The SDK's own call is among them: it shows that the checker checks what AWS does.
        let came = wire::Request {
            headers: request.headers.clone().into_iter().collect(),
            method: request.method,
            path: request.path,
            query: request.query,
            body: request.body.to_vec(),
        };
        assert_eq!(signature::check(&came, KEY, SECRET), Ok(()), "{came:?}");
        assert!(signature::check(&came, KEY, "another secret").is_err());
    }
}
