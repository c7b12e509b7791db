//! Records that no sane service would write, as raw bytes. Every one of them must end in the index.
//!
//! Each goes by a name that says what is wrong with it, and has an id of its own, so that a test can
//! say which one is missing.

use super::events;

/// One hostile record.
pub(crate) struct Hostile {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) bytes: Vec<u8>,
}

/// First number of the hostile records' ids, away from the ordinary ones.
const FIRST: usize = 0xE000_0000;

/// Members put at the top level, and into `requestParameters`, which every engine maps as an object.
const MEMBERS: &[(&str, &str)] = &[
    ("duplicate key", r#""twice":1,"twice":{"a":2}"#),
    ("duplicate key by escape", r#""ab":1,"\u0061b":2"#),
    ("duplicate key of three kinds", r#""x":1,"x":"two","x":[3]"#),
    ("key that is half a surrogate pair", r#""\ud83d":1"#),
    ("two keys that are halves", r#""\ud83d":1,"\udc00":2"#),
    ("value that is half a surrogate pair", r#""half":"\ud83d and \udc00""#),
    ("a NUL in key and value", r#""a\u0000b":"c\u0000d""#),
    ("an exponent beyond doubles", r#""big":1E400,"small":-1e-400"#),
    ("an exponent beyond reason", r#""big":1E1000000000"#),
    (
        "integers beyond 64 bits",
        r#""big":123456789012345678901234567890,"negative":-99999999999999999999"#,
    ),
    ("an empty key", r#""":1"#),
    ("an empty key with an object", r#""":{"":{"":1}}"#),
    ("a blank key", r#"" ":1,"\t":2,"\u00a0":3"#),
    ("keys of dots", r#"".":1,"..":2,"...":3"#),
    ("a leading dot", r#"".a":1"#),
    ("a trailing dot", r#""a.":1"#),
    ("a double dot", r#""a..b":1"#),
    ("a dotted key beside its spelled-out path", r#""p.q":1,"p":{"q":2}"#),
    ("a dotted key through a scalar", r#""eventName.x":1,"awsRegion.x.y":2"#),
    ("a dotted key through a scalar of ours", r#""instanceType.x":{"y":1}"#),
    (
        "names of metadata",
        r#""_id":"x","_index":"x","_source":{"a":1},"_routing":"r","_version":1,"_field_names":1,"_ignored":1,"_seq_no":1,"_doc_count":0,"_type":"t","_foo":1"#,
    ),
    (
        "our own names",
        r#""@timestamp":"yesterday","trailload":"mine","source":"text","event":1,"user":[1],"cloud":"aws""#,
    ),
    (
        "our own names as objects",
        r#""trailload":{"unmapped":{"a":1},"changes":5},"source":{"ip":{"x":1}},"@timestamp":{"a":1}"#,
    ),
    (
        "values on the paths of aliases",
        r#""event":{"action":"x","outcome":null,"provider":[{"a":1}]},"user":{"name":{"a":1},"id":1},"cloud":{"account":{"id":7},"region":["x"]},"user_agent":{"original":"x"},"error":{"code":"x","message":"y"}"#,
    ),
    ("lists in lists", r#""lists":[[["a",["b"]],1],{"a":[[2]]}]"#),
    ("a list of everything", r#""mixed":[1,"two",null,true,{"three":3},["four"],{}]"#),
    ("an object of nothing", r#""none":{},"nothing":[{}],"null":null,"list":[],"empty":"""#),
    (
        "a key like a rewritten one",
        r#""policy_object":1,"policy_value":{"a":1},"filter_json":[{}]"#,
    ),
    ("numbers as odd as allowed", r#""n":[-0,-0.0,0e0,1e+5,1E-5]"#),
    (
        "escapes of every sort",
        r#""escapes\/\"\\\b\f\n\r\t\u00e9":"\/\"\\\b\f\n\r\t\u00e9\ud83d\ude00""#,
    ),
    ("line separators that are no newlines", "\"u\":\"\u{2028}\u{2029}\u{85}\""),
];

/// Members that take the place of one that every event has: its kind flips.
const FLIPS: &[(&str, &str)] = &[
    ("eventVersion", r#"{"major":1}"#),
    ("userIdentity", r#""root""#),
    ("userIdentity", "null"),
    ("userIdentity", r#"[{"type":"Root","sessionContext":"none"},"x"]"#),
    (
        "userIdentity",
        r#"{"type":{"a":1},"arn":["x",{"y":1}],"sessionContext":{"attributes":"none","sessionIssuer":[[1]]}}"#,
    ),
    (
        "userIdentity",
        r#"{"sessionContext":{"attributes":{"creationDate":{"a":1},"mfaAuthenticated":{"b":2}}}}"#,
    ),
    ("eventTime", r#""2024-02-03 04:05:06""#),
    ("eventTime", r#""2024-02-03T04: 05: 06Z""#),
    ("eventTime", r#""2024-02-03T04:05:06.123456789+02:00""#),
    ("eventTime", r#""Feb 3, 2024 4:05:06 AM""#),
    ("eventTime", "1706933106"),
    ("eventTime", "1706933106123"),
    ("eventTime", r#""""#),
    ("eventTime", "null"),
    ("eventTime", r#""2024-13-45T99:99:99Z""#),
    ("eventTime", r#"{"a":1}"#),
    ("eventTime", r#"["2024-02-03T04:05:06Z"]"#),
    ("eventTime", r#""9999999-01-01T00:00:00Z""#),
    ("eventSource", r#"["ec2.amazonaws.com"]"#),
    ("eventName", r#"{"name":"x"}"#),
    ("eventName", "17"),
    ("awsRegion", r#"[{"x":1}]"#),
    ("sourceIPAddress", r#""not an address""#),
    ("sourceIPAddress", r#"{"v4":"1.2.3.4"}"#),
    ("sourceIPAddress", r#"["1.2.3.4","AWS Internal"]"#),
    ("sourceIPAddress", "1234"),
    ("userAgent", r#"["a","b"]"#),
    ("userAgent", r#"{"browser":"x"}"#),
    ("requestParameters", r#""HIDDEN_DUE_TO_SECURITY_REASONS""#),
    ("requestParameters", "\"\""),
    ("requestParameters", "5"),
    ("requestParameters", r#"["a",{"b":1}]"#),
    (
        "requestParameters",
        r#"{"filter":"text","policy":{"Statement":[{"Effect":"Allow"}]},"rule":["a",{"b":1}],"attribute":"disableApiTermination","domainName":{"name":"x"},"iamInstanceProfile":"p"}"#,
    ),
    (
        "requestParameters",
        r#"{"filter":[[{"a":1}]],"policy":"{}","rule":{"b":1},"attribute":{"value":{"x":1}},"domainName":["a"],"iamInstanceProfile":{"arn":{"x":1}}}"#,
    ),
    (
        "requestParameters",
        r#"{"tags":{"a":"b","c.d":{"e":1}},"instanceType":{"value":"t3"},"minCount":"3","maxCount":{}}"#,
    ),
    (
        "requestParameters",
        r#"{"tags":[{"key":"a","value":"b"}],"instanceType":["a","b"],"minCount":{"x":{"y":{"z":1}}}}"#,
    ),
    ("requestParameters", r#"{"tags":"text","instanceType":null,"minCount":[[1],[2]]}"#),
    ("responseElements", "\"text\""),
    ("responseElements", "true"),
    ("responseElements", r#"{"endpoint":{"address":"a","port":1},"omitted":true}"#),
    ("responseElements", r#"{"endpoint":"text"}"#),
    ("additionalEventData", r#""text""#),
    ("additionalEventData", r#"{"a":{"b":{"c":{"d":{"e":{"f":{"g":1}}}}}}}"#),
    ("serviceEventDetails", r#"["a"]"#),
    ("tlsDetails", r#""none""#),
    ("resources", r#""arn:aws:s3:::b""#),
    ("resources", r#"[["arn:aws:s3:::b"],{"ARN":{"x":1}}]"#),
    ("apiVersion", r#""2012-10-17""#),
    ("apiVersion", r#""v20160216""#),
    ("apiVersion", r#"{"a":1}"#),
    ("apiVersion", "20150331"),
    ("readOnly", r#""yes""#),
    ("readOnly", r#""true""#),
    ("readOnly", "1"),
    ("readOnly", "[true]"),
    ("readOnly", r#"{"a":true}"#),
    ("managementEvent", r#""False""#),
    ("sessionCredentialFromConsole", r#""true""#),
    ("sessionCredentialFromConsole", "0"),
    ("errorMessage", r#"{"message":"x"}"#),
    ("errorMessage", r#"["a",["b"]]"#),
    ("recipientAccountId", "111122223333"),
    ("edgeDeviceDetails", "7"),
    ("addendum", r#"{"reason":{"x":1},"updatedFields":{"a":1}}"#),
];

/// Returns all of them; the big ones are a few megabytes each.
pub(crate) fn all() -> Vec<Hostile> {
    let mut list = Corpus(Vec::new());
    for (name, members) in MEMBERS {
        list.add(&format!("{name}, top level"), |event| at_top(event, members));
        list.add(&format!("{name}, in parameters"), |event| in_parameters(event, members));
        list.add(&format!("{name}, in an unknown object"), |event| {
            in_parameters(event, &format!("\"unknownToAll\":{{{members}}}"))
        });
        list.add(&format!("{name}, in a list"), |event| {
            in_parameters(event, &format!("\"unknownList\":[{{{members}}},[{{{members}}}]]"))
        });
    }
    for (member, value) in FLIPS {
        let shown = &value[..value.len().min(40)];
        list.add(&format!("{member} is {shown}"), |event| replaced(event, member, value));
    }
    list.sizes();
    list.bad_bytes();
    list.ids();
    list.0
}

/// Keys that some engine refuses somewhere, or that come close.
const KEYS: &[&str] = &[
    r#""":1"#,
    r#"" ":1"#,
    r#""\t":1"#,
    r#"".":1"#,
    r#""..":1"#,
    r#"".a":1"#,
    r#""a.":1"#,
    r#""a..b":1"#,
    r#""a.b":1"#,
    r#""eventName.x":1"#,
    r#""eventName.":1"#,
    r#""userIdentity.type.x":1"#,
    r#""userIdentity.type":1"#,
    r#""_id":1"#,
    r#""_source":1"#,
    r#""_index":1"#,
    r#""_routing":1"#,
    r#""_type":1"#,
    r#""_foo":1"#,
    r#""\ud83d":1"#,
    r#""\u0000":1"#,
    r#""a":1,"a":1"#,
    r#""ab":1,"\u0061b":2"#,
    r#""p":{"q":1},"p.q":2"#,
    r#""instanceType.x":1"#,
    r#""filter.name":1"#,
    r#""filter.name.x":1"#,
];

/// Values that some engine refuses on some type of field.
const VALUES: &[&str] = &[
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
    "123456789012345678901234567890",
    "1E400",
    "1E1000000000",
    r#""\ud83d""#,
    r#""\u0000""#,
];

/// A field of each type that the template maps, and one that it does not.
const FIELDS: &[&str] = &[
    "unmappedField",
    "eventName",
    "eventTime",
    "@timestamp",
    "readOnly",
    "sourceIPAddress",
    "errorMessage",
    "userIdentity",
    "requestParameters",
    "event",
    "source",
    "trailload",
    "tlsDetails",
    "resources",
];

/// The table of what engines refuse under `dynamic: false`, a document for each row and place.
pub(crate) fn table() -> Vec<Hostile> {
    let mut list = Corpus(Vec::new());
    for key in KEYS {
        list.add(&format!("key {key}, top level"), |event| at_top(event, key));
        list.add(&format!("key {key}, mapped object"), |event| in_parameters(event, key));
        list.add(&format!("key {key}, unmapped object"), |event| {
            at_top(event, &format!("\"unmapped\":{{{key}}}"))
        });
    }
    for value in VALUES {
        for field in FIELDS {
            list.add(&format!("{field} is {value}"), |event| replaced(event, field, value));
        }
        list.add(&format!("an alias is {value}"), |event| {
            at_top(event, &format!("\"event\":{{\"action\":{value}}}"))
        });
        list.add(&format!("an alias by a dotted key is {value}"), |event| {
            at_top(event, &format!("\"event.action\":{value}"))
        });
        list.add(&format!("a learned field is {value}"), |event| {
            in_parameters(event, &format!("\"learnedField\":{value}"))
        });
    }
    list.0
}

struct Corpus(Vec<Hostile>);

impl Corpus {
    fn add(&mut self, name: &str, change: impl Fn(&str) -> String) {
        self.add_bytes(name, |event| change(event).into_bytes());
    }

    fn add_bytes(&mut self, name: &str, change: impl Fn(&str) -> Vec<u8>) {
        let number = FIRST + self.0.len();
        let bytes = change(&events::event(number).to_string());
        self.0.push(Hostile { name: name.to_owned(), id: events::id(number), bytes });
    }

    fn sizes(&mut self) {
        let places: [fn(&str, &str) -> String; 2] = [at_top, in_parameters];
        for (place, put) in ["top level", "parameters"].into_iter().zip(places) {
            for digits in [999, 1_000, 1_001, 1_500, 100_000] {
                let number = "7".repeat(digits);
                self.add(&format!("{digits} digits, {place}"), |event| {
                    put(event, &format!("\"digits\":{number}"))
                });
                self.add(&format!("{digits} decimals, {place}"), |event| {
                    put(event, &format!("\"digits\":[-0.{number}]"))
                });
            }
            for depth in [19, 20, 21, 60, 400, 999, 1_001, 2_000] {
                let objects = "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
                let lists = "[".repeat(depth) + "1" + &"]".repeat(depth);
                let both = "[{\"a\":".repeat(depth / 2) + "1" + &"}]".repeat(depth / 2);
                for (kind, nested) in
                    [("objects", objects), ("lists", lists), ("lists of objects", both)]
                {
                    self.add(&format!("{depth} {kind} deep, {place}"), |event| {
                        put(event, &format!("\"deep\":{nested}"))
                    });
                }
            }
            let long = "x".repeat(2_000_000);
            self.add(&format!("a text of 2 MB, {place}"), |event| {
                put(event, &format!("\"long\":\"{long}\""))
            });
            self.add(&format!("a key of 60,000 characters, {place}"), |event| {
                put(event, &format!("\"{}\":1", &long[..60_000]))
            });
            let keys: Vec<String> = (0..100_000).map(|key| format!("\"k{key}\":{key}")).collect();
            let keys = keys.join(",");
            self.add(&format!("100,000 keys in an object, {place}"), |event| {
                put(event, &format!("\"keys\":{{{keys}}}"))
            });
            let items = "1,".repeat(100_000);
            self.add(&format!("a list of 100,000, {place}"), |event| {
                put(event, &format!("\"items\":[{items}1]"))
            });
        }
        self.add("long texts where every engine maps a field", |event| {
            let long = format!("\"{}\"", "y".repeat(40_000));
            ["eventName", "userAgent", "errorMessage"]
                .iter()
                .fold(event.to_owned(), |event, name| replaced(&event, name, &long))
        });
    }

    /// Bytes that are no JSON by the letter, but whose meaning is plain.
    fn bad_bytes(&mut self) {
        let bytes: [(&str, &[u8]); 6] = [
            ("a raw control character", b"\"raw\":\"a\x01b\x1fc\""),
            ("a raw tab", b"\"raw\":\"a\tb\""),
            ("a byte that is no UTF-8", b"\"raw\":\"a\xffb\""),
            ("an overlong byte pair", b"\"raw\":\"\xc0\xaf\""),
            ("a raw surrogate", b"\"raw\":\"\xed\xa0\xbd\""),
            ("NaN", b"\"raw\":NaN"),
        ];
        for (name, member) in bytes {
            self.add_bytes(name, |event| {
                let event = event.as_bytes();
                [&event[..event.len() - 1], b",", member, b"}"].concat()
            });
        }
    }

    /// Ids that are none. What is found under which id is for the loader to say.
    fn ids(&mut self) {
        let long = format!("\"{}\"", "i".repeat(600));
        for id in [
            "1",
            "\"1\"",
            "\"1\"",
            "null",
            "\"\"",
            "{\"a\":1}",
            "[\"x\"]",
            "\"../../x\"",
            "\"\\ud83d\"",
            &long,
        ] {
            self.add(&format!("the id {}", &id[..id.len().min(20)]), |event| {
                replaced(event, "eventID", id)
            });
            self.0.last_mut().unwrap().id.clear();
        }
    }
}

fn at_top(event: &str, members: &str) -> String {
    let open = event.strip_suffix('}').unwrap();
    // What stands there already would be a duplicate key, which is another entry's matter.
    format!("{open},{members}}}")
}

fn in_parameters(event: &str, members: &str) -> String {
    event.replacen("\"requestParameters\":{", &format!("\"requestParameters\":{{{members},"), 1)
}

/// Returns the event with the member's value replaced, or the member added.
fn replaced(event: &str, member: &str, value: &str) -> String {
    let mut tree: serde_json::Map<String, serde_json::Value> = serde_json::from_str(event).unwrap();
    tree.remove(member);
    at_top(&serde_json::Value::Object(tree).to_string(), &format!("\"{member}\":{value}"))
}

mod tests {
    use super::super::json;
    use super::*;

    #[test]
    fn the_corpus_is_hostile_and_its_ids_are_its_own() {
        let corpus = all();
        let refused = corpus.iter().filter(|record| json::read(&record.bytes).is_err()).count();
        assert!(refused > 50, "only {refused} are refused by the strict reader");
        let mut ids: Vec<_> =
            corpus.iter().map(|record| &record.id).filter(|id| !id.is_empty()).collect();
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all);
        assert!(corpus.iter().all(|record| !record.bytes.contains(&b'\n')), "one a line");
    }
}
