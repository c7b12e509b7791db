//! Which objects are found, and what finding them costs.

use aws_credential_types::Credentials;
use trailload::aws;
use trailload::source::s3::LogKind;

use super::*;
use crate::support::aws::given;

const ORGANIZATION: &str = "o-exampleorgid";

/// An organization's bucket, as services and people fill it.
fn organization() -> (Bucket, Vec<String>) {
    let mut logs = Vec::new();
    for account in [ACCOUNT, "210987654321"] {
        for kind in LogKind::ALL {
            for region in ["eu-west-1", "us-east-1"] {
                for day in ["2024/03/13", "2024/03/14"] {
                    let folder =
                        format!("org/AWSLogs/{ORGANIZATION}/{account}/{kind}/{region}/{day}");
                    let name = format!("{account}_{kind}_{region}_x_abc.json.gz");
                    logs.push(format!("{folder}/{name}"));
                }
            }
        }
    }
    let mut bucket = bucket_of(&logs);
    let account = format!("org/AWSLogs/{ORGANIZATION}/{ACCOUNT}");
    for foreign in [
        format!("{account}/CloudTrail-Digest/eu-west-1/2024/03/14/d.json.gz"),
        format!("{account}/Config/eu-west-1/2024/3/14/ConfigSnapshot/c.json.gz"),
        format!("{account}/elasticloadbalancing/eu-west-1/2024/03/14/e.log.gz"),
        format!("{account}/vpcflowlogs/eu-west-1/2024/03/14/v.log.gz"),
        format!("{account}/CloudTrail-Lake/Query/2024/03/14/q/result_1.csv.gz"),
        format!("{account}/CloudTrail/"),
        format!("{account}/CloudTrail/eu-west-1/"),
        format!("org/AWSLogs/{ORGANIZATION}/"),
        "org/readme.txt".to_owned(),
        "reports/2024/report.json.gz".to_owned(),
    ] {
        bucket.put(&foreign, "");
    }
    (bucket, logs)
}

#[test]
fn an_organizations_logs_are_found_and_those_of_others_left_alone() {
    let (bucket, mut logs) = organization();
    let fake = Fake::start([("trail", bucket)]);
    logs.sort();
    for word in ["s3://trail", "s3://trail/org/AWSLogs/", "s3://trail/org/AWSLogs"] {
        let told = Run::new(&fake, word).run();
        assert_eq!(told.keys(), logs, "{word}");
        for (key, (fingerprint, body)) in &told.inputs {
            assert_eq!(key.as_bytes(), [b"s3://trail/", body.as_slice()].concat());
            let (size, etag) = fingerprint.split_once(':').unwrap();
            assert_eq!(size, body.len().to_string());
            assert_eq!(etag.len(), 32);
        }
        assert_eq!((told.failed, told.error), (vec![], None));
    }
    let gets = fake.take_calls();
    let foreign = ["Digest", "Config", "elastic", "vpcflow", "Lake"];
    assert!(!gets.iter().any(|call| foreign.iter().any(|name| call.key.contains(name))));

    // Below a folder that is named, what lies beside the trail's logs is looked at too.
    logs.push("org/readme.txt".to_owned());
    assert_eq!(Run::new(&fake, "s3://trail/org/").run().keys(), logs);
}

#[test]
fn an_address_may_end_anywhere() {
    let (bucket, logs) = organization();
    let fake = Fake::start([("trail", bucket)]);
    let one = &logs[0];
    let ends = one.match_indices('/').map(|(at, _)| at).chain([one.len()]);
    for end in ends {
        let word = format!("s3://trail/{}", &one[..end]);
        let told = Run::new(&fake, &word).run();
        let folder = format!("{}/", &one[..end]);
        let below = logs.iter().filter(|log| format!("{log}/").starts_with(&folder)).count();
        let below = below + usize::from(folder == "org/");
        assert_eq!((told.inputs.len(), told.error), (below, None), "{word}");
        assert!(told.inputs.contains_key(&format!("s3://trail/{one}")));
    }
}

#[test]
fn narrowing_narrows_the_listing() {
    let (bucket, _) = organization();
    let fake = Fake::start([("trail", bucket)]);
    let lists = |tell: &dyn Fn(&mut S3Options)| {
        let mut run = Run::new(&fake, "s3://trail/org/AWSLogs");
        tell(&mut run.options);
        let told = run.run();
        let calls = fake.take_calls();
        let lists = calls.iter().filter(|call| call.action == "ListObjectsV2").count();
        (lists, told.inputs.len())
    };
    let (all, objects) = lists(&|_| {});
    // The name, AWSLogs, the organization, two accounts, eight kinds, sixteen Regions.
    assert_eq!((all, objects), (29, 32));
    let one = |options: &mut S3Options| options.accounts = vec![ACCOUNT.to_owned()];
    assert_eq!(lists(&one), (16, 16));
    let kind = |options: &mut S3Options| options.kinds = vec!["cloudtrail".parse().unwrap()];
    assert_eq!(lists(&kind), (11, 8));
    let region = |options: &mut S3Options| options.regions = vec!["us-east-1".to_owned()];
    assert_eq!(lists(&region), (21, 16));
    let days = |options: &mut S3Options| options.from = Some(moment("2024-03-14T00:00:00Z"));
    assert_eq!(lists(&days), (29, 16));
}

#[test]
fn days_that_are_not_asked_for_are_not_listed() {
    // A thousand files a day: each day is a page.
    fn name(number: usize) -> String {
        let (day, file) = (number / 1_000 + 1, number % 1_000);
        let minute = format!("{:02}{:02}", file / 60, file % 60);
        key("CloudTrail", "eu-west-1", &format!("2024/01/{day:02}"), &minute, "abc")
    }
    let bucket = Bucket::made(20_000, name, |_| b"{}".to_vec());
    let fake = Fake::start([("trail", bucket)]);
    let mut run = Run::new(&fake, "s3://trail");
    run.options.from = Some(moment("2024-01-05T10:00:00Z"));
    run.options.to = Some(moment("2024-01-06T00:00:00Z"));
    run.options.late_days = 0;
    let told = run.run();
    // Events of the 5th are delivered on the 5th and the 6th, if none is late.
    assert_eq!(told.inputs.len(), 2_000);
    assert!(told.keys().iter().all(|key| key.contains("/2024/01/05/") || key.contains("/01/06/")));
    let calls = fake.take_calls();
    let pages = calls.iter().filter(|call| call.key.ends_with("/eu-west-1/")).count();
    assert_eq!(pages, 3, "two days, and the page that shows that they are over");
}

#[test]
fn what_is_done_is_never_fetched_again_and_what_changed_is() {
    let keys: Vec<_> = (0..5)
        .map(|n| key("CloudTrail", "eu-west-1", "2024/03/14", "0005", &n.to_string()))
        .collect();
    let fake = Fake::start([("trail", bucket_of(&keys))]);
    let first = Run::new(&fake, "s3://trail").run();
    assert_eq!(first.keys(), keys);
    fake.take_calls();
    fake.change("trail", |bucket| bucket.put(&keys[3], "something else"));
    let second = Run::new(&fake, "s3://trail").after(&first);
    let told = second.run();
    assert_eq!((told.keys(), told.done), (vec![keys[3].as_str()], 4));
    let gets: Vec<_> =
        fake.take_calls().into_iter().filter(|call| call.action == "GetObject").collect();
    assert_eq!(gets.len(), 1);

    let mut again = second;
    again.options.reload = true;
    assert_eq!(again.run().inputs.len(), 5);
}

#[test]
fn late_files_are_found_wherever_they_sort() {
    let in_time = [
        key("CloudTrail", "eu-west-1", "2024/02/20", "0005", "mmmm"),
        key("CloudTrail", "eu-west-1", "2024/03/14", "0010", "mmmm"),
        key("CloudTrail", "eu-west-1", "2024/03/14", "0015", "mmmm"),
    ];
    let fake = Fake::start([("trail", bucket_of(&in_time))]);
    let first = Run::new(&fake, "s3://trail").run();
    assert_eq!(first.inputs.len(), 3);
    // Of the same minute as the last one, and before it by name; and weeks late, in a day that was over.
    let late = [
        key("CloudTrail", "eu-west-1", "2024/02/20", "0003", "zzzz"),
        key("CloudTrail", "eu-west-1", "2024/03/14", "0015", "aaaa"),
    ];
    fake.change("trail", |bucket| late.iter().for_each(|key| bucket.put(key, "late")));
    let second = Run::new(&fake, "s3://trail").after(&first).run();
    assert_eq!(second.keys(), late);
}

#[test]
fn old_days_are_closed_once_all_of_them_is_handed_over() {
    let days = ["2024/02/12", "2024/02/13", "2024/02/14", "2024/03/14"];
    let keys = days.iter().flat_map(|day| {
        (0..7).map(|n| key("CloudTrail", "eu-west-1", day, "0005", &n.to_string()))
    });
    let fake = Fake::start([("trail", bucket_of(keys))]);
    let told = Run::new(&fake, "s3://trail").run();
    // The last thirty days are 2024-02-14 and later.
    let prefix = |day| format!("s3://trail/AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/{day}/");
    let counts = BTreeMap::from([(prefix(days[0]), 7), (prefix(days[1]), 7)]);
    let closed = told.closed.clone();
    let inputs = |closed: &BTreeMap<String, ListingSummary>| -> BTreeMap<String, u64> {
        closed.iter().map(|(prefix, listed)| (prefix.clone(), listed.inputs)).collect()
    };
    assert_eq!((&inputs(&closed), &told.before_closed), (&counts, &counts));

    // The next run knows them by one row, and none of their objects.
    let mut second = Run::new(&fake, "s3://trail").after(&told);
    second.done.retain(|key, _| !closed.keys().any(|prefix| key.starts_with(prefix)));
    second.closed = closed;
    let told = second.run();
    assert_eq!((told.inputs.len(), told.done, told.closed.len()), (0, 28, 0));
}

#[test]
fn a_part_of_a_day_never_closes_the_day() {
    let day = format!("AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/2023/02/12");
    let keys = [format!("{day}/a.json.gz"), format!("{day}/part/b.json.gz")];
    let fake = Fake::start([("trail", bucket_of(&keys))]);
    let word = format!("s3://trail/{day}/part/");
    let told = Run::new(&fake, &word).run();
    assert_eq!(told.keys(), [keys[1].as_str()]);
    assert_eq!(told.closed, BTreeMap::new());
}

#[test]
fn logs_below_a_prefix_of_the_same_name_are_found() {
    let plain = key("CloudTrail", "eu-west-1", "2024/03/14", "0005", "a");
    let keys = [format!("AWSLogs/{plain}"), plain];
    let fake = Fake::start([("trail", bucket_of(&keys))]);
    let mut wanted: Vec<_> = keys.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    assert_eq!(Run::new(&fake, "s3://trail").run().keys(), wanted);
}

#[test]
fn what_the_other_word_would_not_find_is_found_by_its_own() {
    let plain = key("CloudTrail", "eu-west-1", "2024/03/14", "0005", "a");
    let keys = [format!("a/b/c/{plain}"), "AWSLogs/mine/x.json.gz".to_owned(), plain];
    let fake = Fake::start([("trail", bucket_of(&keys))]);
    let mut run = Run::new(&fake, "s3://trail");
    run.words.extend(["s3://trail/a/b/c/AWSLogs/", "s3://trail/AWSLogs/mine/x.json.gz"]);
    assert_eq!(run.run().inputs.len(), 3);
}

#[test]
fn an_account_is_not_the_one_that_begins_alike() {
    let keys = ["a/1111", "a/11112"].map(|folder| format!("{folder}/x.json.gz"));
    let fake = Fake::start([("trail", bucket_of(&keys))]);
    assert_eq!(Run::new(&fake, "s3://trail/a/1111").run().keys(), [keys[0].as_str()]);
}

#[test]
fn a_hundred_years_of_late_days_are_no_trouble() {
    let keys = [key("CloudTrail", "eu-west-1", "2024/03/14", "0005", "a")];
    let fake = Fake::start([("trail", bucket_of(&keys))]);
    let mut run = Run::new(&fake, "s3://trail");
    run.options.late_days = u32::MAX;
    assert_eq!(run.run().inputs.len(), 1);
}

#[test]
fn days_whose_objects_are_done_are_closed_too() {
    let keys = [key("CloudTrail", "eu-west-1", "2023/02/12", "0005", "a")];
    let fake = Fake::start([("trail", bucket_of(&keys))]);
    let first = Run::new(&fake, "s3://trail").run();
    let second = Run::new(&fake, "s3://trail").after(&first).run();
    assert_eq!((second.done, second.closed), (1, first.closed));
}

#[test]
fn files_in_a_layout_of_ones_own_are_found_below_a_folder() {
    let name = |region| format!("copy/{ACCOUNT}_CloudTrail_{region}_20240314T0005Z_a.json.gz");
    let keys = [
        name("eu-west-1"),
        name("us-east-1"),
        "copy/deep/er/a b+c%é.json".to_owned(),
        format!("copy/a/b/c/d/e/AWSLogs/{ACCOUNT}/CloudTrail-Digest/x.json.gz"),
        "copy/picture.png".to_owned(),
    ];
    let fake = Fake::start([("trail", bucket_of(&keys))]);
    let told = Run::new(&fake, "s3://trail/copy").run();
    // What a picture holds is no record, but its name does not say so.
    let mut wanted = vec![&keys[0], &keys[1], &keys[2], &keys[4]];
    wanted.sort();
    assert_eq!(told.keys(), wanted);
    let mut one = Run::new(&fake, "s3://trail/copy");
    one.options.regions = vec!["eu-west-1".to_owned()];
    assert_eq!(one.run().inputs.len(), 3, "the one that says it, and those that do not say");
}

#[test]
fn several_words_give_each_object_once() {
    let (bucket, logs) = organization();
    let keys = [key("CloudTrail", "us-east-1", "2024/03/14", "0005", "a")];
    let other = bucket_of(&keys);
    let fake = Fake::start([("trail", bucket), ("trail-two", other)]);
    let deep = format!("s3://trail/org/AWSLogs/{ORGANIZATION}/{ACCOUNT}");
    let mut run = Run::new(&fake, &deep);
    run.words.extend(["s3://trail", "s3://trail-two/", "s3://trail-two"]);
    let told = run.run();
    assert_eq!(told.inputs.len(), logs.len() + 1);
}

#[test]
fn nothing_to_find_is_an_error_unless_it_was_narrowed() {
    let keys = [key("CloudTrail", "eu-west-1", "2024/03/14", "0005", "a")];
    let mut bucket = bucket_of(&keys);
    bucket.put(&format!("AWSLogs/{ACCOUNT}/Config/eu-west-1/x.json.gz"), "");
    let fake = Fake::start([("trail", bucket), ("empty-one", Bucket::new())]);
    let error = |word| Run::new(&fake, word).run().error.unwrap_or_default();
    let nothing = "contains no trail logs; a trail delivers below s3://BUCKET[/PREFIX]/AWSLogs/";
    assert_eq!(error("s3://empty-one"), format!("s3://empty-one: could not be read: {nothing}"));
    assert_eq!(
        error("s3://trail/AWSLogs/210987654321"),
        format!("s3://trail/AWSLogs/210987654321: could not be read: {nothing}")
    );
    assert!(error("s3://trail/typo").ends_with(nothing));
    let config = format!("s3://trail/AWSLogs/{ACCOUNT}/Config/");
    assert!(error(&config).contains("contains no events"), "{}", error(&config));

    let mut run = Run::new(&fake, "s3://trail");
    run.options.from = Some(moment("2024-03-15T00:00:00Z"));
    let told = run.run();
    assert_eq!((told.error, told.skipped.len(), told.inputs.len()), (None, 1, 0));
}

#[test]
fn the_doors_own_clients_lead_there() {
    let keys = [key("CloudTrail", "eu-west-1", "2024/03/14", "0005", "a")];
    let mut bucket = bucket_of(&keys);
    bucket.region = "ap-south-1";
    let fake = Fake::start([("trail", bucket)]);
    let mut options = aws::SessionOptions::new(aws::Clock::new(Timestamp::now));
    options.region = Some("eu-west-1".to_owned());
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    options.credentials = Some(given(credentials));
    options.endpoints.insert("s3".to_owned(), fake.url.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let access = runtime.block_on(aws::Session::load(&options)).unwrap();
    let source = S3Source::new(
        vec![(0, Address::parse("s3://trail").unwrap())],
        Run::new(&fake, "s3://trail").options,
        Box::new(move |region| access.s3(region)),
        Box::new(|_| None),
        Box::new(|_| None),
        NOW.parse().unwrap(),
    );
    let mut told = Told::default();
    let ended = read(source, |_, found| {
        told.take(found);
        true
    });
    ended.unwrap();
    assert_eq!(told.keys(), keys);
}

const DAY: &str = "2023/02/12";

fn old(name: &str) -> String {
    key("CloudTrail", "eu-west-1", DAY, "0005", name)
}

/// What runs before left of an old day: it is closed, and its objects are known by nothing else.
fn closed(fake: &Fake) -> BTreeMap<String, ListingSummary> {
    let told = Run::new(fake, "s3://trail").run();
    assert_eq!(told.closed.len(), 1);
    told.closed
}

#[test]
fn an_object_that_comes_to_a_closed_day_is_read_alone() {
    let fake = Fake::start([("trail", bucket_of([old("a"), old("b")]))]);
    let before = closed(&fake);
    fake.change("trail", |bucket| bucket.put_at(&old("0"), "new", "2024-03-15T11:00:00.000Z"));
    let mut run = Run::new(&fake, "s3://trail");
    run.closed.clone_from(&before);
    let told = run.run();
    assert_eq!((told.keys(), told.done), (vec![old("0").as_str()], 2));
    let (prefix, listed) = told.closed.first_key_value().unwrap();
    assert_eq!((listed.inputs, told.known[prefix]), (3, 2));
    // And from then on the day is known as it is now.
    run.closed.clone_from(&told.closed);
    let told = run.run();
    assert_eq!((told.inputs.len(), told.done, told.closed.len()), (0, 3, 0));
}

#[test]
fn a_closed_day_that_changed_in_any_other_way_is_read_again() {
    for change in [
        // A replica keeps the time of its original.
        |bucket: &mut Bucket| bucket.put(&old("0"), "new"),
        |bucket: &mut Bucket| bucket.put_at(&old("a"), "other", "2024-03-15T11:00:00.000Z"),
        |bucket: &mut Bucket| {
            bucket.delete(&old("a"));
            bucket.put(&old("c"), "new");
        },
    ] {
        let fake = Fake::start([("trail", bucket_of([old("a"), old("b")]))]);
        let mut run = Run::new(&fake, "s3://trail");
        run.closed = closed(&fake);
        fake.change("trail", change);
        let told = run.run();
        let (_, listed) = told.closed.first_key_value().unwrap();
        assert_eq!((told.inputs.len() as u64, told.done), (listed.inputs, 0));
        assert_eq!(told.known.values().sum::<u64>(), 0);
    }
}

/// By a lifecycle rule; what is left may be archived, and must not be fetched again for that.
#[test]
fn a_closed_day_that_lost_objects_is_still_done() {
    let fake = Fake::start([("trail", bucket_of([old("a"), old("b"), old("c")]))]);
    let mut run = Run::new(&fake, "s3://trail");
    run.closed = closed(&fake);
    fake.change("trail", |bucket| bucket.delete(&old("b")));
    let told = run.run();
    assert_eq!((told.inputs.len(), told.done, told.closed.len()), (0, 2, 0));
}

#[test]
fn events_that_were_delivered_late_are_found_behind_the_last_day() {
    let days = ["2024/01/05", "2024/01/06", "2024/01/20", "2024/02/04", "2024/02/05"];
    let keys = days.map(|day| key("CloudTrail", "eu-west-1", day, "0005", "a"));
    let fake = Fake::start([("trail", bucket_of(&keys))]);
    let mut run = Run::new(&fake, "s3://trail");
    run.options.to = Some(moment("2024-01-06T00:00:00Z"));
    for (late_days, found) in [(30, 4), (15, 3), (1, 2), (0, 2)] {
        run.options.late_days = late_days;
        assert_eq!(run.run().inputs.len(), found, "{late_days}");
    }
}

#[test]
fn trails_are_found_at_any_depth_and_beside_each_other() {
    let plain = key("CloudTrail", "eu-west-1", "2024/03/14", "0005", "a");
    let keys = [
        plain.clone(),
        format!("trail2/{plain}"),
        format!("team/sub/{plain}"),
        format!("a/b/c/d/e/f/g/{plain}"),
        plain.replace("AWSLogs/", "AWSLogs/team/sub/"),
        plain.replace("AWSLogs/", "o-exampleorgid/AWSLogs/o-exampleorgid/"),
        format!("AWSLogs/backup/{plain}"),
        format!("AWSLogs/210987654321/{plain}"),
    ];
    let fake = Fake::start([("trail", bucket_of(&keys))]);
    let mut wanted: Vec<_> = keys.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    let told = Run::new(&fake, "s3://trail").run();
    assert_eq!((told.keys(), &told.skipped), (wanted.clone(), &vec![]));
    // And from every folder above them.
    for key in &keys {
        for (slash, _) in key.match_indices('/') {
            let folder = &key[..=slash];
            let below = wanted.iter().filter(|key| key.starts_with(folder));
            let told = Run::new(&fake, &format!("s3://trail/{folder}")).run();
            assert_eq!(told.keys(), below.copied().collect::<Vec<_>>(), "{folder}");
        }
    }
}

#[test]
fn what_lies_too_deep_in_a_bucket_is_named_and_found_when_its_folder_is() {
    let plain = key("CloudTrail", "eu-west-1", "2024/03/14", "0005", "a");
    let deep = format!("1/2/3/4/5/6/7/8/9/{plain}");
    let fake = Fake::start([("trail", bucket_of([&plain, &deep]))]);
    let told = Run::new(&fake, "s3://trail").run();
    assert_eq!(told.keys(), [plain.as_str()]);
    assert_eq!(
        told.skipped,
        [
            "s3://trail: skipped, because they do not have the layout of trail logs: 1/; to load them, also pass \
             s3://trail/1/; to load only the trail, pass s3://trail/AWSLogs/"
        ]
    );
    let mut both = Run::new(&fake, "s3://trail");
    both.words.push("s3://trail/1/");
    let told = both.run();
    assert_eq!((told.inputs.len(), told.skipped), (2, vec![]));
}

#[test]
fn what_lies_beside_the_trails_of_a_bucket_is_named_once_and_read_if_it_is_named() {
    let plain = key("CloudTrail", "eu-west-1", "2024/03/14", "0005", "a");
    let (account, _) = plain.split_once("CloudTrail").unwrap();
    let keys = [
        plain.clone(),
        "2024/03/14/16/Firehose-1-2024-03-14-16-45-11-9c1e".to_owned(),
        "loose.json".to_owned(),
        format!("{account}OurOwn/eu-west-1/x.gz"),
    ];
    let mut bucket = bucket_of(&keys);
    bucket.put(&format!("{account}vpcflowlogs/eu-west-1/2024/03/14/v.log.gz"), "v");
    bucket.put(&format!("{account}ELBAccessLogTestFile"), "t");
    let fake = Fake::start([("trail", bucket)]);
    let told = Run::new(&fake, "s3://trail").run();
    assert_eq!(told.keys(), [plain.as_str()]);
    assert_eq!(told.skipped.len(), 1);
    for name in
        ["2024/, ", "AWSLogs/123456789012/OurOwn/", "loose.json", "also pass s3://trail/2024/"]
    {
        assert!(told.skipped[0].contains(name), "{name}: {}", told.skipped[0]);
    }
    let mut run = Run::new(&fake, "s3://trail");
    let ours = format!("s3://trail/{account}OurOwn");
    run.words.extend(["s3://trail/2024", "s3://trail/loose.json", &ours]);
    let told = run.run();
    assert_eq!((told.inputs.len(), told.skipped), (4, vec![]));
}

#[test]
fn a_bucket_without_trails_is_read_as_it_is() {
    let keys = ["2024/03/05/16/LZA-1-2024-03-05-16-45-11-9c1e", "CloudWatchLogs/x", "y z+ü"];
    let fake = Fake::start([("trail", bucket_of(keys))]);
    assert_eq!(Run::new(&fake, "s3://trail").run().keys(), keys);
}

/// Access logs of a bucket lie in thousands beside each other.
#[test]
fn very_many_objects_beside_the_trails_are_not_all_listed() {
    fn name(number: usize) -> String {
        if number == 30_000 {
            return key("CloudTrail", "eu-west-1", "2024/03/14", "0005", "a");
        }
        format!("2024-03-14-16-45-{number:08}")
    }
    let fake = Fake::start([("trail", Bucket::made(30_001, name, |_| b"{}".to_vec()))]);
    let told = Run::new(&fake, "s3://trail").run();
    assert_eq!((told.inputs.len(), told.skipped.len()), (1, 1));
    assert!(told.skipped[0].contains(" and more; "), "{}", told.skipped[0]);
    assert!(fake.take_calls().len() < 30);
}

#[test]
fn a_folder_with_more_folders_than_are_searched_is_read_all_the_same() {
    fn name(number: usize) -> String {
        let plain = key("CloudTrail", "eu-west-1", "2024/03/14", "0005", "a");
        format!("copy/{number:05}/{plain}")
    }
    let fake = Fake::start([("trail", Bucket::made(2_500, name, |_| b"{}".to_vec()))]);
    assert_eq!(Run::new(&fake, "s3://trail/copy").run().inputs.len(), 2_500);
    let told = Run::new(&fake, "s3://trail").run();
    assert_eq!(told.skipped.len(), 1);
    assert!(told.inputs.len() > 1_900, "{}", told.inputs.len());
}
