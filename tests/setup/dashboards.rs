//! Dashboards in Kibana and OpenSearch Dashboards: fakes of both, beside a real engine.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Corner, Engine, SetupRun};
use crate::support::events::{event_with, records};
use crate::support::load::{Chain, Desk};
use crate::support::saved_objects::{Product, SavedObjectsApi};

/// The objects that a setup makes.
struct Setup {
    corner: Corner,
    api: SavedObjectsApi,
}

impl Setup {
    fn with(product: Product) -> Setup {
        Setup { corner: Corner::of(Engine::OpenSearch3), api: SavedObjectsApi::start(product) }
    }

    fn run(&self, arguments: &[&str]) -> SetupRun {
        self.run_at(&self.api.url(), arguments)
    }

    fn run_at(&self, url: &str, arguments: &[&str]) -> SetupRun {
        SetupRun::of(&self.corner, &[&["--dashboards", url], arguments].concat())
    }

    /// Returns the objects of a kind.
    fn count(&self, of: &str, kind: &str) -> usize {
        self.api.objects(of).keys().filter(|(known, _)| known == kind).count()
    }
}

const BOTH: [(Product, &str); 2] =
    [(Product::Kibana, "default"), (Product::OpenSearchDashboards, "__user__")];

#[test]
fn both_products_are_set_up_once_and_cleared_again() {
    for (product, of) in BOTH {
        let setup = Setup::with(product);
        setup.api.put(of, "dashboard", "mine", &json!({ "title": "Mine", "description": "" }));
        setup.api.put(of, "index-pattern", "theirs", &json!({ "title": "cloud*" }));
        let before = setup.api.objects(of);
        let name = if product == Product::Kibana {
            "Kibana 8.12.2"
        } else {
            "OpenSearch Dashboards 2.19.2"
        };
        setup.run(&[]).exits(0).prints([name, "create dashboard", "create index-pattern"]);
        assert!(setup.count(of, "dashboard") > 7 && setup.count(of, "visualization") > 40);
        let made = setup.api.objects(of);
        setup.run(&[]).exits(0).prints(["0 created, 0 changed, 0 deleted"]);
        assert_eq!(setup.api.objects(of), made);
        setup.run(&["--remove"]).exits(0);
        assert_eq!(setup.api.objects(of), before);
        setup.run(&["--remove"]).exits(0).prints(["nothing to do", "0 deleted"]);
    }
}

#[test]
fn print_changes_nothing_and_shows_the_file_of_the_import() {
    let setup = Setup::with(Product::Kibana);
    let printed = setup.run(&["--print"]).exits(0);
    assert_eq!(setup.api.state().writes, Vec::<String>::new());
    let objects = printed
        .stdout
        .lines()
        .filter(|line| line.starts_with("{\"") && line.contains("\"references\""));
    let number = objects.count();
    setup.run(&[]).exits(0);
    assert_eq!(setup.api.objects("default").len(), number);
}

#[test]
fn an_object_of_somebody_else_with_the_same_id_is_named_and_left_alone() {
    let setup = Setup::with(Product::OpenSearchDashboards);
    setup.run(&[]).exits(0);
    let made = setup.api.objects("__user__");
    let (_, id) = made.keys().find(|(kind, _)| kind == "dashboard").unwrap().clone();
    setup.run(&["--remove"]).exits(0);
    let theirs = json!({ "title": "Mine", "description": "by hand" });
    setup.api.put("__user__", "dashboard", &id, &theirs);
    let run = setup.run(&[]).exits(3);
    run.prints(["cannot dashboard", "somebody else's object has this id", "1 not possible"]);
    let object = || setup.api.objects("__user__")[&("dashboard".to_owned(), id.clone())].clone();
    assert_eq!(object()["attributes"], theirs);
    assert_eq!(setup.api.objects("__user__").len(), made.len());
    setup.run(&["--remove"]).exits(0).prints(["keep   dashboard"]);
    assert_eq!(object()["attributes"], theirs);
}

#[test]
fn changes_of_people_survive_until_this_program_writes_another_object() {
    let setup = Setup::with(Product::Kibana);
    setup.run(&[]).exits(0);
    let key = {
        let mut objects = setup.api.objects("default").into_iter();
        let (key, mut object) = objects.find(|((kind, _), _)| kind == "dashboard").unwrap();
        object["attributes"]["title"] = json!("Renamed");
        setup.api.put("default", &key.0, &key.1, &object["attributes"]);
        key
    };
    setup.run(&[]).exits(0).prints(["0 created, 0 changed"]);
    let attributes = || setup.api.objects("default")[&key]["attributes"].clone();
    assert_eq!(attributes()["title"], "Renamed");
    let mut older = attributes();
    let description = older["description"].as_str().unwrap().to_owned();
    let (text, _) = description.rsplit_once("(trailload ").unwrap();
    older["description"] = json!(format!("{text}(trailload 0.0.1 0123456789)"));
    setup.api.put("default", &key.0, &key.1, &older);
    setup.run(&[]).exits(0).prints(["change dashboard", "1 changed"]);
    assert_ne!(attributes()["title"], "Renamed");
    let mut newer = attributes();
    newer["description"] = json!(format!("{text}(trailload 99.0.0 0123456789)"));
    setup.api.put("default", &key.0, &key.1, &newer);
    setup.run(&[]).exits(0).prints(["trailload 99.0.0, which is newer, wrote it"]);
    assert_eq!(attributes(), newer);
}

#[test]
fn each_object_that_is_refused_is_named_and_the_others_are_imported() {
    let setup = Setup::with(Product::Kibana);
    setup.run(&[]).exits(0);
    let all = setup.api.objects("default");
    setup.run(&["--remove"]).exits(0);
    let ids: Vec<_> = all.keys().filter(|(kind, _)| kind == "visualization").take(4).collect();
    let errors = [
        (json!({ "type": "conflict" }), "another object has this id"),
        (
            json!({ "type": "missing_references", "references": [{ "type": "index-pattern", "id": "p" }] }),
            "index-pattern p",
        ),
        (json!({ "type": "unsupported_type" }), "cannot be imported here"),
        (json!({ "type": "unknown", "message": "disk full", "statusCode": 500 }), "disk full"),
    ];
    for ((_, id), (error, _)) in ids.iter().zip(&errors) {
        setup.api.state().refused.insert(id.clone(), error.clone());
    }
    let run = setup.run(&[]).exits(3).prints(["4 not possible", "done in part"]);
    for ((kind, id), (_, text)) in ids.iter().zip(&errors) {
        let title = all[&((*kind).clone(), (*id).clone())]["attributes"]["title"].as_str().unwrap();
        assert!(run.stderr.contains(title) && run.stderr.contains(text), "{title} {text}");
    }
    assert_eq!(setup.api.objects("default").len(), all.len() - 4);
    setup.api.state().refused.clear();
    setup.run(&[]).exits(0).prints(["4 created"]);
    assert_eq!(setup.api.objects("default").len(), all.len());
}

#[test]
fn space_tenant_base_path_and_login_come_from_the_url() {
    let setup = Setup::with(Product::Kibana);
    setup.api.state().spaces.insert("security".to_owned());
    setup.api.state().base_path = "/kibana".to_owned();
    setup.api.state().login = Some("Basic bWU6cEBzcw==".to_owned());
    let host = setup.api.url().replacen("http://", "http://me:p%40ss@", 1);
    let run = setup.run_at(&format!("{host}/s/security/app/dashboards#/list"), &[]).exits(0);
    assert!(!run.stdout.contains("p@ss") && !run.stderr.contains("p%40ss"));
    assert!(setup.count("security", "dashboard") > 7);
    assert_eq!(setup.api.objects("default").len(), 0);
    setup.run_at(&format!("{host}/s/missing"), &[]).exits(1).says(["--dashboards"]);

    let setup = Setup::with(Product::OpenSearchDashboards);
    let url = format!("{}/app/home?security_tenant=global#/", setup.api.url());
    setup.run_at(&url, &[]).exits(0);
    assert!(setup.count("global", "dashboard") > 7);
    assert_eq!(setup.api.objects("__user__").len(), 0);
}

/// Returns the ids that objects refer to, and those of the objects.
fn references_and_ids(setup: &Setup, of: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let objects = setup.api.objects(of);
    let references = objects.values().flat_map(|object| object["references"].as_array().unwrap());
    let references = references.map(|reference| reference["id"].as_str().unwrap().to_owned());
    (references.collect(), objects.keys().map(|(_, id)| id.clone()).collect())
}

#[test]
fn each_space_has_its_own_objects_whichever_comes_first() {
    for order in [["default", "security", "ops"], ["security", "default", "ops"]] {
        let setup = Setup::with(Product::Kibana);
        setup.api.state().spaces.extend(["security".to_owned(), "ops".to_owned()]);
        let run = |space: &str, arguments: &[&str]| match space {
            "default" => setup.run(arguments),
            space => setup.run_at(&format!("{}/s/{space}", setup.api.url()), arguments),
        };
        for space in order {
            run(space, &[]).exits(0).prints(["create dashboard"]);
            let (references, ids) = references_and_ids(&setup, space);
            assert!(references.is_subset(&ids), "{space}: links lead to its own objects");
        }
        let made = order.map(|space| setup.api.objects(space));
        assert_eq!((made[0].len(), made[0].len()), (made[1].len(), made[2].len()));
        let writes = setup.api.state().writes.len();
        for space in order {
            run(space, &[]).exits(0).prints(["0 created, 0 changed, 0 deleted"]);
        }
        assert_eq!(order.map(|space| setup.api.objects(space)), made);
        assert_eq!(setup.api.state().writes.len(), writes, "nothing was written again");
        // The default space has a second name.
        let url = format!("{}/s/default/app/home", setup.api.url());
        setup.api.state().spaces.insert("default".to_owned());
        setup.run_at(&url, &[]).exits(0).prints(["0 created, 0 changed, 0 deleted"]);
        for (number, space) in order.into_iter().enumerate() {
            run(space, &["--remove"]).exits(0).prints([" 0 not possible"]);
            assert_eq!(setup.api.objects(space).len(), 0, "{space}");
            for (later, made) in order.into_iter().zip(&made).skip(number + 1) {
                assert_eq!(setup.api.objects(later), *made, "{later} keeps its own");
            }
            run(space, &["--remove"]).exits(0).prints(["nothing to do"]);
        }
    }
}

#[test]
fn a_file_that_was_imported_by_hand_decides_the_ids_of_its_space() {
    let setup = Setup::with(Product::Kibana);
    setup.api.state().spaces.insert("security".to_owned());
    // The default space imported the file, and what another space did not get is there.
    setup.run(&[]).exits(0);
    let plain = setup.api.objects("default");
    setup.run(&["--remove"]).exits(0);
    let security = format!("{}/s/security", setup.api.url());
    for ((kind, id), object) in &plain {
        setup.api.put("security", kind, id, &object["attributes"]);
    }
    setup.run_at(&security, &[]).exits(0).prints(["keep   dashboard"]);
    // Their ids are taken, so the default space gets others.
    setup.run(&[]).exits(0).prints(["create dashboard"]);
    let (references, ids) = references_and_ids(&setup, "default");
    assert!(references.is_subset(&ids));
    assert_eq!(ids.len(), plain.len(), "nothing is left of a first attempt");
    assert!(ids.iter().all(|id| id.ends_with("~default")), "{ids:?}");
    setup.run(&[]).exits(0).prints(["0 created, 0 changed"]);
    setup.run(&["--remove"]).exits(0);
    assert_eq!(setup.api.objects("default").len(), 0);
    assert_eq!(setup.api.objects("security").len(), plain.len());
}

#[test]
fn each_tenant_has_its_own_objects() {
    let setup = Setup::with(Product::OpenSearchDashboards);
    let tenants = ["__user__", "global", "team"];
    let run = |tenant: &str, arguments: &[&str]| {
        let url = format!("{}/app/home?security_tenant={tenant}", setup.api.url());
        setup.run_at(&url, arguments)
    };
    for tenant in tenants {
        run(tenant, &[]).exits(0).prints(["create dashboard"]);
        run(tenant, &[]).exits(0).prints(["0 created, 0 changed, 0 deleted"]);
    }
    let made = setup.api.objects("team");
    run("global", &["--remove"]).exits(0);
    assert_eq!(setup.api.objects("global").len(), 0);
    assert_eq!(
        (setup.api.objects("team"), setup.api.objects("__user__").len()),
        (made.clone(), made.len())
    );
}

#[test]
fn a_file_that_is_refused_as_a_whole_is_explained_and_can_be_repeated() {
    for (product, of) in BOTH {
        let setup = Setup::with(product);
        setup.api.state().max_bytes = 50_000;
        let run = setup.run(&[]).exits(3).prints(["done in part"]);
        run.says(["413", "hint: raise savedObjects.maxImportPayloadBytes"]);
        assert_eq!(setup.api.objects(of).len(), 0);
        setup.api.state().max_bytes = 25 << 20;
        setup.api.state().last_version = [7, 9, 0];
        let run = setup.run(&[]).exits(3).prints(["done in part"]);
        run.says(["422", "more recent version", "hint: it is too old"]);
        assert_eq!(setup.api.objects(of).len(), 0);
        setup.api.state().last_version = [7, 10, 0];
        setup.run(&[]).exits(0).prints(["create dashboard"]);
    }
}

#[test]
fn the_credentials_of_the_engine_are_used_and_a_wrong_one_is_named() {
    let setup = Setup::with(Product::OpenSearchDashboards);
    setup.api.state().login = Some("ApiKey aWQ6a2V5".to_owned());
    let (into, url) = (setup.corner.url().to_owned(), setup.api.url());
    let options = ["--into", &into, "--index", setup.corner.prefix(), "--dashboards", &url];
    SetupRun::new(&options, &[("TRAILLOAD_API_KEY", "id:key")]).exits(0);
    let run = SetupRun::new(&options, &[("TRAILLOAD_API_KEY", "id:wrong")]).exits(1);
    run.says(["401", "TRAILLOAD_API_KEY"]);
    setup.run(&[]).exits(1).says(["401"]);
}

#[test]
fn requests_are_signed_for_amazon_opensearch_service() {
    let setup = Setup::with(Product::OpenSearchDashboards);
    setup.api.state().base_path = "/_dashboards".to_owned();
    setup.api.state().signer = Some(("AKIDEXAMPLE".to_owned(), "hush".to_owned()));
    let (into, url) = (setup.corner.url().to_owned(), setup.api.url());
    let options =
        ["--into", &into, "--index", setup.corner.prefix(), "--dashboards", &url, "--aws-auth"];
    let keys = |secret| {
        [
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
    };
    SetupRun::new(&options, &keys("hush")).exits(0).prints(["create dashboard"]);
    assert!(setup.count("__user__", "dashboard") > 7);
    setup.api.state().fields = Some(json!([field("eventName")]));
    SetupRun::new(&options, &keys("hush")).exits(0).says(["lists 1 field"]);
    let run = SetupRun::new(&options, &keys("wrong"));
    assert!(matches!(run.code, Some(1 | 3)), "{run:?}");
    assert!(!run.stderr.contains("hush"));
}

#[test]
fn without_the_right_to_write_the_engine_is_set_up_all_the_same() {
    for (product, of) in BOTH {
        let setup = Setup::with(product);
        setup.api.state().read_only = true;
        let run = setup.run(&[]).exits(3).prints(["done in part", "3 created"]);
        run.says(["403", "Unable to bulk_create", "hint: grant this user"]);
        assert_eq!(setup.api.objects(of).len(), 0);
    }
}

#[test]
fn another_program_is_recognized_before_anything_is_changed() {
    let corner = Corner::of(Engine::Elasticsearch9);
    let before = super::templates(&corner);
    let url = corner.url().to_owned();
    let run = SetupRun::of(&corner, &["--dashboards", &url]).exits(1);
    run.says(["does not respond like Kibana or OpenSearch Dashboards", "--dashboards"]);
    let closed = "http://127.0.0.1:9";
    SetupRun::of(&corner, &["--dashboards", closed]).exits(1).says(["--dashboards"]);
    assert_eq!(super::templates(&corner), before);
    for invalid in ["localhost:5601", "ftp://k"] {
        SetupRun::of(&corner, &["--dashboards", invalid]).exits(2).says(["--dashboards <URL>"]);
    }
}

fn field(name: &str) -> Value {
    json!({ "name": name, "type": "string", "esTypes": ["keyword"], "searchable": true,
        "aggregatable": true, "readFromDocValues": true })
}

/// Returns the names in the stored list of fields.
fn stored_fields(setup: &Setup) -> Vec<String> {
    let objects = setup.api.objects("__user__");
    let (_, pattern) = objects
        .iter()
        .find(|((kind, id), _)| kind == "index-pattern" && id.ends_with("-cloudtrail"))
        .unwrap();
    let Some(fields) = pattern["attributes"]["fields"].as_str() else { return Vec::new() };
    let fields: Vec<Value> = serde_json::from_str(fields).unwrap();
    fields.iter().map(|field| field["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_stored_field_list_follows_setup_and_loads_that_discover_fields() {
    let setup = Setup::with(Product::OpenSearchDashboards);
    setup.run(&[]).exits(0);
    assert_eq!(stored_fields(&setup), Vec::<String>::new(), "no index yet");
    setup.api.state().fields = Some(json!([field("eventName")]));
    setup.run(&[]).exits(0);
    assert_eq!(stored_fields(&setup), ["eventName"]);
    let desk = Desk::new();
    let load = |name: &str, path: &str| {
        let file = desk.file(name, records(&[event_with(name.len(), path, json!("x"))]));
        let load = desk.load(&file, setup.corner.url()).with(setup.corner.index());
        load.with("--dashboards".chain(setup.api.url()))
    };
    setup.api.state().fields = Some(json!([field("eventName"), field("requestParameters.new")]));
    load("a.json", "requestParameters.inventedToday").run().exits(0).says(["lists 2 fields"]);
    assert_eq!(stored_fields(&setup), ["eventName", "requestParameters.new"]);
    // A load that discovers nothing asks nothing.
    let writes = setup.api.state().writes.len();
    load("a.json", "requestParameters.inventedToday").run().exits(0);
    assert_eq!(setup.api.state().writes.len(), writes);
    // A failure is a warning: the events are loaded.
    setup.api.state().read_only = true;
    let run = load("longer.json", "requestParameters.inventedLater").run();
    run.exits(0).counted([1, 1, 0, 0]).says(["fields are not refreshed", "403"]);
}

#[test]
fn the_doctor_compares_the_objects_with_those_of_this_version() {
    for (product, of) in BOTH {
        let (desk, setup) = (Desk::new(), Setup::with(product));
        let file = desk.file("a.json", records(&[event_with(0, "eventName", "A".into())]));
        let url = setup.api.url();
        let load = desk.load(&file, setup.corner.url()).with(setup.corner.index());
        let doctor = load.with(["--dashboards", &url]).instead("doctor");
        let prints = |expected: &str| {
            let writes = setup.api.state().writes.len();
            let outcome = doctor.run().exits(0);
            assert!(outcome.stdout.contains(expected), "{expected} is not in:\n{}", outcome.stdout);
            assert_eq!(setup.api.state().writes.len(), writes, "nothing is changed");
            outcome.stdout
        };
        let name = format!("! saved objects of '{}': ", setup.corner.prefix());
        let before = prints(&name);
        assert!(before.contains(" missing\n  fix: run 'trailload setup --into http"), "{before}");
        setup.run(&[]).exits(0);
        prints(&format!("✓ saved objects of '{}': ", setup.corner.prefix()));
        let (kind, id) = setup.api.objects(of).keys().next().unwrap().clone();
        setup.api.put(of, &kind, &id, &json!({ "title": "Mine", "description": "" }));
        prints(&format!("{name}1 of another program under the same ids"));
        setup.api.state().login = Some("Basic other".to_owned());
        prints("this load can run; 1 warning");
    }
}

#[test]
fn the_doctor_names_a_product_that_is_too_old() {
    let old = "is too old\n  fix: update it to Kibana 8 or OpenSearch Dashboards 2";
    let (kibana, osd) = (Product::Kibana, Product::OpenSearchDashboards);
    let desk = Desk::new();
    let file = desk.file("a.json", records(&[event_with(0, "eventName", "A".into())]));
    for (product, versions, is_old) in [
        (kibana, ["7.10.2", "7.17.29", "6.8.23"].map(Some).as_slice(), true),
        (osd, ["1.0.0", "1.3.20"].map(Some).as_slice(), true),
        (kibana, [Some("8.0.0"), Some("9.1.4"), Some("10.0.0-SNAPSHOT"), None].as_slice(), false),
        (osd, [Some("2.0.0"), Some("3.3.0"), None].as_slice(), false),
    ] {
        let setup = Setup::with(product);
        let url = setup.api.url();
        let load = desk.load(&file, setup.corner.url()).with(setup.corner.index());
        let doctor = load.with(["--dashboards", &url]).instead("doctor");
        for version in versions {
            setup.api.state().version = *version;
            // A load succeeds without dashboards, so that it is not a failure.
            let printed = doctor.run().exits(0).stdout;
            let name = match product {
                Product::Kibana => "Kibana",
                Product::OpenSearchDashboards => "OpenSearch Dashboards",
            };
            let named =
                version.map_or_else(|| name.to_owned(), |version| format!("{name} {version}"));
            let line = printed.lines().find(|line| line.contains(&format!(": {named}")));
            let line = line.unwrap_or_else(|| panic!("{named} is not in:\n{printed}"));
            assert!(
                line.starts_with(if is_old { "! dashboards http" } else { "✓ dashboards http" }),
                "{line}"
            );
            assert_eq!(printed.contains(&format!("{named} {old}")), is_old, "{printed}");
            assert!(setup.api.state().writes.is_empty(), "nothing is changed");
        }
    }
}
