//! The whole help, as a person sees it on a terminal of 100 columns.
//!
//! A change here is a change of the user's page: read it as a user would before accepting it.

use clap::{CommandFactory as _, error::ErrorKind};

use super::Cli;

fn help(words: &[&str]) -> String {
    let words = ["trailload"].iter().chain(words);
    let error = Cli::command().term_width(100).try_get_matches_from(words).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DisplayHelp);
    error.to_string()
}

#[test]
fn help_of_the_program() {
    assert_eq!(
        help(&["--help"]),
        r"Load AWS CloudTrail into Elasticsearch or OpenSearch: nothing refused, nothing lost, nothing twice

Usage: trailload <COMMAND>

Commands:
  load    Load CloudTrail into an engine; run it again and only what is new is loaded
  status  Show what is safe by source, what was set aside and why, and what was learned
  retry   Send documents again that were set aside, or accept that they stay out
  doctor  Look whether a load would succeed, and what to do if not; nothing is changed
  policy  Print the least IAM policy for a load with these options
  help    Print this message or the help of the given subcommand(s)

Options:
  -h, --help     Print help
  -V, --version  Print version

Examples:
  trailload load --into http://localhost:9200
  trailload load s3://my-trail --into http://localhost:9200
  trailload load trail/ --into http://localhost:9200
  trailload doctor --into http://localhost:9200
  trailload status --into http://localhost:9200
  trailload load --help

Exit codes:
  0  everything asked for is in the index
  1  a person has to change something: credentials, permission, address
  2  the command line makes no sense
  3  done, but documents are set aside, or something could not be read ('trailload status' tells)
  4  stopped early, position saved: run the same command again
"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "the page is as long as it is")]
fn help_of_load() {
    assert_eq!(
        help(&["load", "--help"]),
        r"Load CloudTrail into an engine; run it again and only what is new is loaded

Usage: trailload load [OPTIONS] --into <URL> [SOURCE]...

Arguments:
  [SOURCE]...  'lookup' for the event history of AWS accounts, 's3://BUCKET[/PREFIX]' for what a
               trail delivered, files, folders (with all below them), '-' for standard input
               [default: lookup]

Options:
  -h, --help  Print help

What to load:
      --from <TIME>       Load events from this time on: a time, a date (midnight UTC), or an age
      --to <TIME>         Load events before this time
      --last <AGE>        Load events of this age or younger, such as 12h or 7d
      --again             Read everything, also what the checkpoint says is done
      --check-duplicates  Compare events whose id the index holds already with what it holds, and
                          name those that differ
      --dry-run           Read and count, report fields and conflicts, send nothing; of lookup,
                          estimate only

Which accounts and Regions:
      --profile <NAME>                Use this profile of the AWS configuration [default: as for
                                      every AWS tool]
      --assume-role <ARN|FILE>        Act as this role, or as each one in this file; {account}
                                      stands for each of --accounts (can be repeated)
      --external-id <ID>              Tell this external id when assuming a role
      --accounts <ID,…|organization>  Load these accounts only, or all of the organization [default:
                                      that of the credentials or roles; all in a bucket]
      --regions <REGION,…|all>        Load these Regions only [default: all that are enabled, or in
                                      the bucket]

Event history (lookup):
      --read-only                     Load only events that changed nothing
      --write-only                    Load only events that may have changed something: often the
                                      smaller part, and quicker
      --lookup-attribute <KEY=VALUE>  Load only events with this attribute, such as Username=alice
                                      or EventName=RunInstances
      --insights                      Load Insights events too
      --settle <AGE>                  Leave events younger than this to the next run: AWS may not
                                      know all of them yet [default: 15m]
      --overlap <AGE>                 Let the next run fetch events again that are younger than
                                      this: some come late [default: 24h]

Trail buckets (s3://):
      --trail <NAME>      Load the bucket that this trail delivers to (name or ARN; can be repeated)
      --kinds <KIND,…>    Load these kinds of logs only: CloudTrail, Insight, NetworkActivity,
                          Aggregated [default: all]
      --late-days <DAYS>  Expect logs so many days late, also behind --to [default: 30]
      --requester-pays    Pay for requests where the bucket's owner does not

Where to:
      --into <URL>                      Load into the engine at this address
      --index <PREFIX>                  Begin index names with this; documents go to PREFIX-YYYY.MM
                                        [default: cloudtrail]
      --index-by <month|day|year|none>  Start a new index for each of these, or use one for all
                                        [default: month]
      --ca-file <FILE>                  Trust the authorities in this PEM file
      --password-file <FILE>            Read the password from a file
      --api-key-file <FILE>             Read the API key from a file
      --aws-auth                        Sign requests to the engine with AWS credentials, for Amazon
                                        OpenSearch Service and Serverless
      --accept-cluster                  Go on although another cluster answers than before, because
                                        its indices were restored from a snapshot
      --accept-missing[=<INDEX>]        Accept that indices are gone, or lack documents that were
                                        loaded into them: all, or those named ('*' stands for
                                        anything)
      --force                           Replace an index template that is newer, or not ours
      --checkpoint <FILE>               Remember in this file what is done [default: one per engine
                                        and prefix in the state folder]

What the documents hold:
      --fields <lean|standard>  Map every field that fits, or leave out request and response details
                                (lean) [default: standard]
      --max-fields <FIELDS>     Map at most this many fields; others are found in trailload.more
                                [default: 5000]
      --keep-original           Keep each record as it came, as one text that is not indexed
      --mappings <DIR>          Take the rules and the kinds of fields from this folder

How fast:
      --memory <BYTES>     Use at most this much memory, all stages together [default: 256MiB]
      --workers <THREADS>  Unpack and rewrite in this many threads [default: one per processor; half
                           as many beside a local engine]
      --batch <BYTES>      Send about this much in one request: 4KiB to 90MiB, and a quarter of
                           --memory at most [default: 5MiB]

What is shown:
      --summary <FILE>          Write the numbers of the run to this file, as JSON
      --log-format <text|json>  Write lines on standard error as text, or each as a JSON object
                                [default: text]
      --quiet                   Show nothing but warnings and errors
  -v, --verbose                 Show what helps to find a fault

Environment:
  TRAILLOAD_USERNAME, TRAILLOAD_PASSWORD  Log in with a name and a password
  TRAILLOAD_API_KEY                       Log in with an API key, as the engine printed it (encoded)
  TRAILLOAD_PASSWORD_FILE                 Read the password from this file
  TRAILLOAD_API_KEY_FILE                  Read the API key from this file

  AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL, ...  As for every AWS tool

Examples:
  The event history of this account: 90 days of every Region, and again tonight only what is new
    trailload load --into http://localhost:9200
  Look before you load: how many events, how long
    trailload load --into http://localhost:9200 --dry-run
  All accounts of an organization
    trailload load --into http://localhost:9200 --accounts organization \
      --assume-role 'arn:aws:iam::{account}:role/trailload'
  Years from a trail's bucket, one Region
    trailload load s3://my-trail --into http://localhost:9200 --regions eu-west-1 --from 2022-01-01
  A folder of logs; or the last week only, from a pipe
    trailload load trail/ --into http://localhost:9200
    zcat *.json.gz | trailload load - --into http://localhost:9200 --last 7d
  From cron, with a summary for the monitoring
    trailload load --into https://search.example:9200 --quiet --summary last.json
"
    );
}

#[test]
fn help_of_status() {
    assert_eq!(
        help(&["status", "--help"]),
        r"Show what is safe by source, what was set aside and why, and what was learned

Usage: trailload status [OPTIONS]

Options:
  -h, --help  Print help

What to show:
      --into <URL>         Show the checkpoint of this engine
      --index <PREFIX>     Show the checkpoint of this index prefix [default: cloudtrail]
      --checkpoint <FILE>  Show this checkpoint file

What is shown:
      --json  Write JSON with all rows, not tables

Without --into and --checkpoint, the only checkpoint in the state folder is shown.

Examples:
  trailload status --into http://localhost:9200
  trailload status --json | jq .set_aside
"
    );
}

#[test]
fn help_of_policy() {
    assert_eq!(
        help(&["policy", "--help"]),
        r"Print the least IAM policy for a load with these options

Usage: trailload policy [OPTIONS OF LOAD] [SOURCE]...

Options:
  -h, --help  Print help

Takes the SOURCE words and options of a load (see 'trailload load --help') and prints an IAM policy
that allows no more than they need. Nobody is asked. Standard error tells what it is for.

Examples:
  The event history of this account
    trailload policy
  A trail's bucket, of which only one folder is read
    trailload policy s3://my-trail/AWSLogs/o-example/ > policy.json
  Whoever assumes the roles of an organization's accounts
    trailload policy --accounts organization --assume-role 'arn:aws:iam::{account}:role/trailload'
"
    );
}

#[test]
fn help_of_doctor() {
    assert_eq!(
        help(&["doctor", "--help"]),
        r"Look whether a load would succeed, and what to do if not; nothing is changed

Usage: trailload doctor [OPTIONS OF LOAD] --into <URL> [SOURCE]...

Options:
  -h, --help  Print help

Takes the SOURCE words and options of a load (see 'trailload load --help') and looks at all that the
load needs: credentials, accounts, Regions, buckets, clock, engine, checkpoint.

Examples:
  trailload doctor --into http://localhost:9200
  trailload doctor s3://my-trail --into https://search.example:9200

Exit codes:
  0  nothing would stop the load
  1  something would; below each ✗ is what to do
  2  the command line makes no sense
"
    );
}

#[test]
fn help_of_retry() {
    assert_eq!(
        help(&["retry", "--help"]),
        r"Send documents again that were set aside, or accept that they stay out

Usage: trailload retry [OPTIONS]

Options:
  -h, --help  Print help

What to send:
      --all     Send accepted documents too
      --accept  Send nothing, and accept that what is set aside now stays out: it is kept and
                counted, but runs can end with 0

Where to:
      --into <URL>            Send to the engine at this address
      --index <PREFIX>        Send what was meant for indices with this prefix [default: cloudtrail]
      --ca-file <FILE>        Trust the authorities in this PEM file
      --password-file <FILE>  Read the password from a file
      --api-key-file <FILE>   Read the API key from a file
      --aws-auth              Sign requests to the engine with AWS credentials, for Amazon
                              OpenSearch Service and Serverless
      --profile <NAME>        Use this profile of the AWS configuration to sign requests [default:
                              as for every AWS tool]
      --checkpoint <FILE>     Use this checkpoint file [default: one per engine and prefix in the
                              state folder]

What the documents hold:
      --mappings <DIR>  Take the rules and the kinds of fields from this folder, as the load does

What is shown:
      --summary <FILE>          Write the numbers of the run to this file, as JSON
      --log-format <text|json>  Write lines on standard error as text, or each as a JSON object
                                [default: text]
      --quiet                   Show nothing but warnings and errors
  -v, --verbose                 Show what helps to find a fault

Every load sends documents again that an index, a pipeline or a limit keeps out, and those that were
refused for their content once the mapping or this program has changed. This command sends them all.

Examples:
  The pipeline is repaired
    trailload retry --into http://localhost:9200
  Nobody needs these documents: let the nightly load end with exit 0 again
    trailload retry --into http://localhost:9200 --accept

Exit codes:
  0  no document is set aside, but those that are accepted
  3  documents are still set aside ('trailload status' tells why)
  1, 2, 4 as for 'trailload load'
"
    );
}
