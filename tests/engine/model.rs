//! The model behind the fake engine refuses whatever a real engine refuses.

use serde_json::{Value, json};

use super::on_every_engine;
use crate::support::json;
use crate::support::mapping::Mapping;
use crate::support::real::{Corner, Engine};
use crate::support::wire;

on_every_engine!(the_model_is_as_strict_as_the_engine, the_model_merges_as_the_engine);

fn mapping() -> Value {
    let keyword = json!({ "type": "keyword", "ignore_above": 1024 });
    json!({ "dynamic": false, "properties": {
        "keyword": keyword, "plain": { "type": "keyword" }, "text": { "type": "text" }, "boolean": { "type": "boolean" },
        "date": { "type": "date" }, "lenient": { "type": "date", "ignore_malformed": true },
        "long": { "type": "long", "ignore_malformed": true }, "ip": { "type": "ip", "ignore_malformed": true },
        "twins": { "type": "keyword", "ignore_above": 1024, "fields": { "num": { "type": "double", "ignore_malformed": true } } },
        "alias": { "type": "alias", "path": "keyword" },
        "o": { "properties": { "keyword": keyword, "p": { "properties": { "q": keyword } } } }
    }})
}

/// Returns documents from harmless to hostile: each key in each place, each value on each field.
fn documents() -> Vec<String> {
    let keys = [
        r#""""#,
        r#"" ""#,
        r#"".""#,
        r#""..""#,
        r#"".a""#,
        r#""a.""#,
        r#""a..b""#,
        r#""a.b""#,
        r#""keyword.x""#,
        r#""keyword.""#,
        r#""p.q""#,
        r#""p.q.r""#,
        r#""o.p.q.r""#,
        r#""o.p""#,
        r#""_id""#,
        r#""_source""#,
        r#""_index""#,
        r#""_routing""#,
        r#""_foo""#,
        r#""\ud83d""#,
        r#""\u0000""#,
        r#""a":1,"a""#,
        r#""ab":1,"\u0061b""#,
        r#""p":{"q":1},"p.q""#,
    ];
    let places = [("{", ":1}"), (r#"{"o":{"#, ":1}}"), (r#"{"u":{"#, ":1}}")];
    let fields = [
        "unmapped", "keyword", "plain", "text", "boolean", "date", "lenient", "long", "ip",
        "twins", "alias", "o",
    ];
    let digits = "1".repeat(1_001);
    let long = format!("\"{}\"", "x".repeat(40_000));
    let values = [
        r#""text""#,
        r#""""#,
        "true",
        "1.5",
        "null",
        "[]",
        r#"["a",1,true,null,["b"]]"#,
        "{}",
        "[{}]",
        r#"{"x":1}"#,
        r#"["a",{"x":1}]"#,
        r#""2024-13-45""#,
        r#""2024-02-01T10:00:00Z""#,
        "123456789012345678901234567890",
        "1E400",
        r#""\ud83d""#,
        "\"\u{1}\"",
        "NaN",
        &digits,
        &long,
    ];
    let nestings = [20, 21, 500, 1_001];
    let mut all = Vec::new();
    for (before, after) in places {
        all.extend(keys.iter().map(|key| format!("{before}{key}{after}")));
        for depth in nestings {
            all.push(
                format!("{before}\"deep\":{}{}{}", "[".repeat(depth), "1", "]".repeat(depth))
                    + &after[2..],
            );
            all.push(
                format!("{before}\"deep\":{}{}{}", "{\"a\":".repeat(depth), "1", "}".repeat(depth))
                    + &after[2..],
            );
        }
    }
    for field in fields {
        all.extend(values.iter().map(|value| format!("{{\"{field}\":{value}}}")));
    }
    all
}

fn the_model_is_as_strict_as_the_engine(corner: &Corner) {
    let model = Mapping::default().merged(&mapping(), 1_000).unwrap();
    let index = format!("/{}", corner.prefix());
    corner.ask("PUT", &index, &json!({ "mappings": mapping() }));
    let mut laxer = Vec::new();
    let mut stricter = Vec::new();
    for document in documents() {
        let path = format!("{index}/_doc");
        let (status, answer) = wire::ask(corner.url(), "POST", &path, Some(document.as_bytes()));
        let modelled = json::read(document.as_bytes())
            .err()
            .or_else(|| model.refusal(&json::read(document.as_bytes()).unwrap()));
        let shown = &document[..document.len().min(60)];
        match (status, modelled) {
            (201, Some(reason)) => stricter.push(format!("{shown}: {reason}")),
            (201, None) | (_, Some(_)) => {}
            (_, None) => laxer.push(format!("{shown}: {answer}")),
        }
    }
    // Some other engine refuses these, or should: the model is one for all.
    println!("the model refuses, the engine takes: {stricter:#?}");
    assert!(laxer.is_empty(), "the model takes what the engine refuses: {laxer:#?}");
}

fn the_model_merges_as_the_engine(corner: &Corner) {
    let model = Mapping::default().merged(&mapping(), 1_000).unwrap();
    let index = format!("/{}", corner.prefix());
    corner.ask("PUT", &index, &json!({ "mappings": mapping() }));
    for properties in [
        json!({ "keyword": { "properties": { "x": { "type": "keyword" } } } }),
        json!({ "o": { "type": "keyword" } }),
        json!({ "keyword": { "type": "long" } }),
        json!({ "other": { "type": "alias", "path": "o" } }),
        json!({ "other": { "type": "alias", "path": "nowhere" } }),
        json!({ "other": { "type": "nonsense" } }),
        json!({ "": { "type": "keyword" } }),
        json!({ "alias": { "type": "keyword" } }),
        json!({ "o": { "properties": { "p": { "properties": { "r": { "type": "keyword" } } } } } }),
        json!({ "o.p.s": { "type": "keyword" } }),
    ] {
        let put = json!({ "properties": properties });
        let body = put.to_string();
        let (status, answer) =
            wire::ask(corner.url(), "PUT", &format!("{index}/_mapping"), Some(body.as_bytes()));
        let modelled = model.merged(&put, 1_000);
        assert_eq!(
            status == 200,
            modelled.is_ok(),
            "{put}: the engine {answer}, the model {:?}",
            modelled.err()
        );
    }
}
