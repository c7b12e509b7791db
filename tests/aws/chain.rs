//! The credential chain in a child process: variables, profiles, tokens, metadata services.

use std::{collections::BTreeMap, path::Path, process::Command, sync::Arc};

use serde_json::{Value, json};
use tempfile::TempDir;
use trailload::aws::{Clock, Session, SessionOptions};

use crate::support::aws::{
    KEY, SECRET, cloud,
    server::{Response, Server},
    sts::Sts,
};

/// Marks the line with the output of the child.
const MARK: &str = "PROBE ";

/// Not a test: the child's side of [`probe`].
#[test]
#[ignore = "only makes sense as a child of the other tests here"]
fn child() {
    if std::env::var_os("PROBE").is_none() {
        return;
    }
    let mut options = SessionOptions::new(Clock::new(jiff::Timestamp::now));
    options.profile = std::env::var_os("PROBE_PROFILE").map(|it| it.into_string().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let said = runtime.block_on(async {
        let session = Session::load(&options).await.unwrap();
        let region = session.region();
        match session.identity().await {
            Ok(identity) => json!({
                "arn": identity.arn,
                "region": region,
                "cloudtrail": session.endpoint("cloudtrail"),
            }),
            Err(error) => {
                let cause = error.service_error().map(|it| format!("{:?}: {it}", it.kind));
                json!({"error": error.to_string(), "advice": error.hint(), "cause": cause})
            }
        }
    });
    println!("{MARK}{said}");
}

/// Runs [`child`] with nothing in its environment but `variables`, and a home of its own.
fn probe(home: &Path, variables: &[(&str, &str)]) -> Value {
    let mut all: BTreeMap<&str, &str> = BTreeMap::new();
    all.insert("PROBE", "1");
    all.insert("HOME", home.to_str().unwrap());
    all.insert("AWS_EC2_METADATA_DISABLED", "true");
    all.extend(variables.iter().copied());
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "aws::chain::child", "--ignored", "--nocapture"])
        .env_clear()
        .envs(all)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    let said = text.lines().find_map(|line| line.split_once(MARK)).map(|it| it.1);
    let said = said.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&child.stderr)));
    serde_json::from_str(said).unwrap()
}

struct Scene {
    home: TempDir,
    sts: Arc<Sts>,
    server: Server,
}

fn scene() -> Scene {
    let sts = Arc::new(Sts::new());
    let server = cloud(&sts, Vec::new());
    Scene { home: tempfile::tempdir().unwrap(), sts, server }
}

impl Scene {
    fn write(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn probe(&self, variables: &[(&str, &str)]) -> Value {
        let url = self.server.url();
        let mut all = vec![("AWS_ENDPOINT_URL_STS", url.as_str())];
        all.extend_from_slice(variables);
        probe(self.home.path(), &all)
    }
}

const LOADER: &str = "arn:aws:iam::111122223333:user/loader";

#[test]
fn missing_credentials_have_a_hint() {
    let said = scene().probe(&[]);
    assert_eq!(said["error"], "found no AWS credentials", "{said}");
    let cause = said["cause"].as_str().unwrap();
    assert!(cause.contains("Environment: ") && !cause.contains('\n'), "{cause}");
    let advice = said["advice"].as_str().unwrap();
    for part in ["AWS_PROFILE", "--profile", "AWS_ACCESS_KEY_ID", "aws sso login", "role"] {
        assert!(advice.contains(part), "{advice}");
    }
}

#[test]
fn variables_suffice() {
    let said = scene().probe(&[
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ENDPOINT_URL_CLOUDTRAIL", "http://127.0.0.1:1"),
    ]);
    assert_eq!(
        said,
        json!({
            "arn": LOADER, "region": "eu-central-1", "cloudtrail": "http://127.0.0.1:1",
        })
    );
}

#[test]
fn a_selected_profile_takes_precedence_over_keys_in_variables() {
    let scene = scene();
    scene.sts.user("AKIAOTHER", "arn:aws:iam::444455556666:user/other");
    scene.write(
        ".aws/credentials",
        "[other]\naws_access_key_id=AKIAOTHER\naws_secret_access_key=s\n",
    );
    scene.write(
        ".aws/config",
        "[profile other]\nregion=eu-west-3\nservices=fakes\n\n[services fakes]\ncloudtrail =\n  \
         endpoint_url = http://127.0.0.1:2\n",
    );
    let keys = [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let named = scene.probe(&[keys[0], keys[1], ("PROBE_PROFILE", "other")]);
    assert_eq!(
        named,
        json!({
            "arn": "arn:aws:iam::444455556666:user/other",
            "region": "eu-west-3",
            "cloudtrail": "http://127.0.0.1:2",
        })
    );
    // A variable only sets where to look, as in every AWS tool.
    let meant = scene.probe(&[keys[0], keys[1], ("AWS_PROFILE", "other")]);
    assert_eq!((&meant["arn"], &meant["region"]), (&json!(LOADER), &json!("eu-west-3")));
}

#[test]
fn a_missing_profile_is_named() {
    let scene = scene();
    for text in ["", "[default]\nregion=eu-west-1\n"] {
        scene.write(".aws/config", text);
        let said = scene.probe(&[("PROBE_PROFILE", "nobody")]);
        assert_eq!(said["error"], "found no AWS credentials (profile nobody)", "{said}");
        assert!(said["cause"].as_str().unwrap().contains("profile nobody"), "{said}");
    }
}

#[test]
fn a_profile_may_name_a_role() {
    let scene = scene();
    scene.sts.role("arn:aws:iam::444455556666:role/reader", Some("word"));
    scene.write(
        ".aws/config",
        &format!(
            "[profile base]\naws_access_key_id={KEY}\naws_secret_access_key={SECRET}\n\n[profile reader]\n\
             role_arn=arn:aws:iam::444455556666:role/reader\nexternal_id=word\nrole_session_name=me\n\
             source_profile=base\nregion=eu-west-1\n"
        ),
    );
    for variable in ["AWS_PROFILE", "PROBE_PROFILE"] {
        let said = scene.probe(&[(variable, "reader")]);
        assert_eq!(said["arn"], "arn:aws:sts::444455556666:assumed-role/reader/me", "{said}");
    }
}

#[test]
fn a_denied_role_of_a_profile_is_named() {
    let scene = scene();
    scene.write(
        ".aws/config",
        &format!(
            "[default]\nregion=eu-west-1\nrole_arn=arn:aws:iam::444455556666:role/reader\nsource_profile=base\n\n\
             [profile base]\naws_access_key_id={KEY}\naws_secret_access_key={SECRET}\n"
        ),
    );
    let said = scene.probe(&[]);
    let cause = said["cause"].as_str().unwrap();
    assert!(cause.contains("sts:AssumeRole") && cause.contains("Denied"), "{said}");
}

#[test]
fn a_pod_assumes_a_role_with_its_token() {
    let scene = scene();
    let file = scene.write("token", "a-token");
    let said = scene.probe(&[
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &file),
        ("AWS_ROLE_ARN", "arn:aws:iam::444455556666:role/pod"),
        ("AWS_ROLE_SESSION_NAME", "pod-1"),
        ("AWS_REGION", "eu-west-1"),
    ]);
    assert_eq!(said["arn"], "arn:aws:sts::444455556666:assumed-role/pod/pod-1", "{said}");
}

#[test]
fn an_expired_sso_session_has_a_hint() {
    let scene = scene();
    scene.write(
        ".aws/config",
        "[default]\nsso_session=corp\nsso_account_id=111122223333\nsso_role_name=reader\nregion=eu-west-1\n\n\
         [sso-session corp]\nsso_region=eu-west-1\nsso_start_url=https://corp.example/start\n",
    );
    let said = scene.probe(&[]);
    assert_eq!(said["error"], "could not use the AWS credentials", "{said}");
    assert!(said["advice"].as_str().unwrap().contains("aws sso login"), "{said}");
}

#[test]
fn the_proxy_of_the_environment_is_used() {
    let scene = scene();
    let proxy = scene.server.url();
    let said = scene.probe(&[
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_ENDPOINT_URL_STS", "http://sts.invalid"),
        ("HTTP_PROXY", &proxy),
    ]);
    assert_eq!(said["arn"], LOADER, "{said}");
    assert_eq!(scene.server.requests()[0].header("host"), Some("sts.invalid"));
}

#[test]
fn a_credential_process_is_used() {
    let scene = scene();
    let text = json!({"Version": 1, "AccessKeyId": KEY, "SecretAccessKey": SECRET}).to_string();
    let file = scene.write("keys.json", &text);
    scene.write(".aws/config", &format!("[default]\ncredential_process = /bin/cat {file}\n"));
    assert_eq!(scene.probe(&[])["arn"], LOADER);
}

#[test]
fn a_container_uses_its_credentials_endpoint() {
    let keys = json!({
        "AccessKeyId": "ASIAPOD", "SecretAccessKey": SECRET, "Token": "t",
        "Expiration": "2999-01-01T00:00:00Z",
    });
    let container = Server::start(move |request| {
        assert_eq!(request.header("authorization"), Some("pod-token"));
        Response::json(200, &keys)
    });
    let scene = scene();
    let arn = "arn:aws:sts::444455556666:assumed-role/pod/1";
    scene.sts.session("ASIAPOD", "t", arn);
    let url = format!("{}/v1/credentials", container.url());
    let said = scene.probe(&[
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token"),
    ]);
    assert_eq!(said["arn"], arn, "{said}");
    assert_eq!(container.requests().len(), 1);
}

#[test]
fn an_instance_uses_its_metadata_service() {
    let metadata = Server::start(|request| {
        let text = |text: &str| Response::new(200, "text/plain", text.to_owned());
        let session = || request.header("x-aws-ec2-metadata-token");
        match request.path.as_str() {
            "/latest/api/token" => {
                text("imds-token").header("x-aws-ec2-metadata-token-ttl-seconds", "21600")
            }
            _ if session() != Some("imds-token") => Response::new(401, "text/plain", ""),
            "/latest/meta-data/placement/region" => text("ap-southeast-2"),
            path if path.ends_with("/security-credentials/")
                || path.ends_with("/security-credentials-extended/") =>
            {
                text("role-of-instance")
            }
            path if path.ends_with("/role-of-instance") => Response::json(
                200,
                &json!({
                    "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIAINSTANCE", "AccountId": "111122223333",
                    "SecretAccessKey": SECRET, "Token": "t", "Expiration": "2999-01-01T00:00:00Z",
                    "LastUpdated": "2026-01-01T00:00:00Z",
                }),
            ),
            _ => Response::new(404, "text/plain", ""),
        }
    });
    let url = metadata.url();
    let scene = scene();
    let arn = "arn:aws:sts::444455556666:assumed-role/role-of-instance/i-1";
    scene.sts.session("ASIAINSTANCE", "t", arn);
    let said = scene.probe(&[
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url),
    ]);
    assert_eq!((&said["arn"], &said["region"]), (&json!(arn), &json!("ap-southeast-2")), "{said}");
    assert!(metadata.requests().iter().any(|it| it.path.ends_with("/role-of-instance")));
}

#[test]
fn a_metadata_service_of_another_cloud_has_no_credentials() {
    let foreign = Server::start(|_| Response::new(403, "text/plain", "not here"));
    let url = foreign.url();
    let said = scene().probe(&[
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url),
    ]);
    assert_eq!(said["error"], "found no AWS credentials", "{said}");
    assert!(said["cause"].as_str().unwrap().contains("IMDS"), "{said}");
}

#[test]
fn a_missing_credential_source_is_not_a_network_error() {
    let scene = scene();
    let token = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token"),
        ("AWS_ROLE_ARN", "arn:aws:iam::444455556666:role/pod"),
        ("AWS_REGION", "eu-west-1"),
    ];
    let process = [("AWS_PROFILE", "gone")];
    scene.write(".aws/config", "[profile gone]\ncredential_process = /nowhere/process\n");
    for said in [scene.probe(&token), scene.probe(&process)] {
        let cause = said["cause"].as_str().unwrap();
        assert!(cause.starts_with("InvalidCredentials: "), "{said}");
        assert!(
            said["advice"].as_str().unwrap().starts_with("fix the credential source"),
            "{said}"
        );
    }
}
