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
  load    Load CloudTrail logs into an engine; run it again and only what is new is loaded
  status  Show what is safe by source, what was set aside and why, and what was learned

Options:
  -h, --help     Print help
  -V, --version  Print version

Examples:
  trailload load trail/ --into http://localhost:9200
  trailload status --into http://localhost:9200
  trailload load --help

Exit codes:
  0  everything asked for is in the index
  1  a person has to change something: credentials, permission, address
  2  the command line makes no sense
  3  done, but documents were set aside or files were unreadable ('trailload status' lists them)
  4  stopped early, position saved: run the same command again
"
    );
}

#[test]
fn help_of_load() {
    assert_eq!(
        help(&["load", "--help"]),
        r"Load CloudTrail logs into an engine; run it again and only what is new is loaded

Usage: trailload load [OPTIONS] --into <URL> <SOURCE>...

Arguments:
  [SOURCE]...  Files, folders (with all below them), or '-' for standard input

Options:
  -h, --help  Print help

What to load:
      --from <TIME>  Load events from this time on: a time, a date (midnight UTC), or an age
      --to <TIME>    Load events before this time
      --last <AGE>   Load events of this age or younger, such as 12h or 7d
      --again        Read everything, also what the checkpoint says is done
      --dry-run      Read and count, report fields and conflicts, send nothing

Where to:
      --into <URL>                      Load into the engine at this address
      --index <PREFIX>                  Begin index names with this; documents go to PREFIX-YYYY.MM
                                        [default: cloudtrail]
      --index-by <month|day|year|none>  Start a new index for each of these, or use one for all
                                        [default: month]
      --ca-file <FILE>                  Trust the authorities in this PEM file
      --password-file <FILE>            Read the password from a file
      --api-key-file <FILE>             Read the API key from a file
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
      --workers <THREADS>  Unpack and rewrite in this many threads [default: one per processor]
      --batch <BYTES>      Send about this much in one request [default: 5MiB]

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

Examples:
  Load a folder of logs, and again tonight: only what is new is read
    trailload load trail/ --into http://localhost:9200
  Look before you load
    trailload load trail/ --into http://localhost:9200 --dry-run
  The last week only, from a pipe
    zcat *.json.gz | trailload load - --into http://localhost:9200 --last 7d
  From cron, with a summary for the monitoring
    trailload load /var/trail --into https://search.example:9200 --quiet --summary last.json
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
