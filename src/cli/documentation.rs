//! Checks the pages for users against the parser and the repository: command lines, options, links.
//!
//! Input: README.md, the other Markdown pages of the root, and those in `docs/`, `deploy/` and `policy/`.
//! Invariants: each `trailload` command line in a code block is one that the parser accepts, unless the page shows its error; each
//! option in a text is an option of the command beside it, or of any command; each relative link leads to a file, and to a heading of it, and each file that a text names exists.
//! Not here: whether the output of a command is what a page shows.

use std::{
    collections::BTreeSet,
    env, fs, iter,
    path::{Path, PathBuf},
};

use clap::{Command, CommandFactory as _, error::ErrorKind};

use super::Cli;

/// The folders with pages for users; those in the root are added.
const FOLDERS: [&str; 5] = ["", "docs", "deploy", "deploy/lambda", "policy"];

/// The page that is generated from the parser, with usage instead of commands.
const GENERATED: &str = "docs/options.md";

/// Options that pages mention by themselves and that no command has: those of the program, `scripts/bench` and `scripts/lambda-package`.
const OF_OTHERS: [&str; 4] = ["version", "quick", "arch", "program"];

/// The folders of the repository that texts name; those of a user can have other names.
const NAMED_FOLDERS: [&str; 5] = ["deploy/", "mappings/", "policy/", "scripts/", "tests/"];

struct Page {
    path: PathBuf,
    text: String,
}

/// A part of a page.
enum Part<'a> {
    /// A line outside of code blocks.
    Text(&'a str),
    /// The lines of a code block.
    Code(Vec<&'a str>),
}

impl<'a> Part<'a> {
    fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(line) => Some(line),
            Self::Code(_) => None,
        }
    }
}

#[test]
fn every_command_line_in_a_code_block_is_accepted_by_the_parser() {
    let pages = pages();
    let written = pages.iter().filter(|page| page.name() != GENERATED);
    let refused: Vec<String> = written.flat_map(refused_commands).collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn every_option_in_a_text_is_an_option_of_its_command() {
    let (program, pages) = (built(), pages());
    let written = pages.iter().filter(|page| page.name() != GENERATED);
    let unknown: Vec<String> = written.flat_map(|page| unknown_options(page, &program)).collect();
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    let broken: Vec<String> = pages().iter().flat_map(broken_links).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_file_of_the_repository_that_a_text_names_exists() {
    let missing: Vec<String> = pages().iter().flat_map(missing_files).collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn command_lines_are_found_in_pipes_prompts_and_schedules() {
    let words = command_lines;
    let expected = |words: &[&str]| -> Vec<Vec<String>> {
        vec![words.iter().map(|word| (*word).to_owned()).collect()]
    };
    assert_eq!(words("$ trailload load a | jq ."), expected(&["trailload", "load", "a"]));
    assert_eq!(
        words("A=1 trailload search 'x | y' 2> b"),
        expected(&["trailload", "search", "x | y"])
    );
    assert_eq!(words("17 3 * * *  trailload load # comment"), expected(&["trailload", "load"]));
    assert_eq!(
        words("source <(trailload completions bash)"),
        expected(&["trailload", "completions", "bash"])
    );
    assert_eq!(words("echo trailload"), Vec::<Vec<String>>::new());
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<Page> {
    let files = FOLDERS.iter().flat_map(|folder| fs::read_dir(root().join(folder)).unwrap());
    let mut paths: Vec<PathBuf> = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    paths.sort();
    paths.into_iter().map(|path| Page { text: fs::read_to_string(&path).unwrap(), path }).collect()
}

/// Returns the parser with all global options in each command.
fn built() -> Command {
    let mut program = Cli::command();
    program.build();
    program
}

impl Page {
    fn name(&self) -> String {
        self.path.strip_prefix(root()).unwrap().display().to_string()
    }

    /// Returns the texts between backticks, outside of code blocks.
    fn code_spans(&self) -> Vec<&str> {
        let lines = self.parts().into_iter().filter_map(Part::text);
        lines.flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
    }

    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = Vec::new();
        let mut block: Option<Vec<&str>> = None;
        for line in self.text.lines() {
            match (line.trim_start().starts_with("```"), block.as_mut()) {
                (true, Some(_)) => parts.push(Part::Code(block.take().unwrap())),
                (true, None) => block = Some(Vec::new()),
                (false, Some(lines)) => lines.push(line),
                (false, None) => parts.push(Part::Text(line)),
            }
        }
        assert!(block.is_none(), "{}: a code block has no end", self.name());
        parts
    }
}

// --- command lines ----------------------------------------------------------------------------------------------

fn refused_commands(page: &Page) -> Vec<String> {
    let mut refused = Vec::new();
    for part in page.parts() {
        let Part::Code(lines) = part else { continue };
        for (line, next) in logical_lines(&lines) {
            // The page shows what the command prints if it is wrong.
            if next.is_some_and(|next| next.starts_with("error: ")) {
                continue;
            }
            for words in command_lines(&line) {
                if let Some(message) = refusal(&words) {
                    refused.push(format!("{}: {}: {message}", page.name(), words.join(" ")));
                }
            }
        }
    }
    refused
}

/// Returns why the parser refuses a command line. A placeholder (`…`) stands for options that the page leaves out.
fn refusal(words: &[String]) -> Option<String> {
    let error = Cli::command().try_get_matches_from(words).err()?;
    let abridged = words.iter().any(|word| word == "…");
    let accepted = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::MissingRequiredArgument => abridged,
        _ => false,
    };
    (!accepted).then(|| error.to_string().lines().next().unwrap_or_default().to_owned())
}

/// Returns the commands of a code block, continued lines joined, each with the line after it. If lines have a prompt, the others are output.
fn logical_lines<'a>(lines: &[&'a str]) -> Vec<(String, Option<&'a str>)> {
    let prompts = lines.iter().any(|line| line.trim_start().starts_with("$ "));
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let mut line = lines[at].trim().to_owned();
        let is_command = !prompts || line.starts_with("$ ");
        at += 1;
        while is_command && line.ends_with('\\') && at < lines.len() {
            line.pop();
            line.push_str(lines[at].trim());
            at += 1;
        }
        if is_command {
            commands.push((line, lines.get(at).copied()));
        }
    }
    commands
}

/// Returns the words of each call of this program in a line of a shell or of cron.
fn command_lines(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    for token in shell_tokens(line.trim_start_matches("$ ")) {
        match token {
            Token::Word(word) => commands.last_mut().unwrap().push(word),
            Token::Operator => commands.push(Vec::new()),
        }
    }
    commands.into_iter().filter_map(call_of_program).collect()
}

/// Returns the call of this program without what is before it: variables, and the fields of a schedule.
fn call_of_program(words: Vec<String>) -> Option<Vec<String>> {
    let is_prefix = |word: &String| {
        let is_schedule = word.chars().all(|character| "0123456789*/,-".contains(character));
        let name = word.split_once('=').map(|(name, _)| name);
        let is_variable = name.is_some_and(|name| {
            name.chars().all(|character| character.is_ascii_uppercase() || character == '_')
        });
        is_schedule || is_variable
    };
    let words: Vec<String> = words.into_iter().skip_while(is_prefix).collect();
    let program = words.first()?.rsplit('/').next()?;
    ["trailload", "bootstrap"].contains(&program).then_some(words)
}

enum Token {
    Word(String),
    /// A pipe, the end of a command, or a redirection, whose file is a command of its own here.
    Operator,
}

/// Splits a line as a shell does, as far as pages need it: quotation marks, escapes, operators, comments.
fn shell_tokens(line: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(mark), _) if character == mark => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(characters.next()),
            (None, '#') if word.is_none() => break,
            (None, '|' | '>' | '<' | '&' | ';' | '(' | ')') => {
                // The number of a redirected stream is no argument.
                let before = word.take().filter(|word| character != '>' || word != "2");
                tokens.extend(before.map(Token::Word));
                tokens.push(Token::Operator);
            }
            (None, _) if character.is_whitespace() => {
                tokens.extend(word.take().map(Token::Word));
            }
            (_, _) => word.get_or_insert_default().push(character),
        }
    }
    tokens.extend(word.map(Token::Word));
    tokens
}

// --- options ----------------------------------------------------------------------------------------------------

fn unknown_options(page: &Page, program: &Command) -> Vec<String> {
    let any: BTreeSet<String> = program.get_subcommands().flat_map(options_of).collect();
    let mut unknown = Vec::new();
    for span in page.code_spans() {
        // In a table, a pipe is escaped.
        let mut commands = command_lines(&span.replace("\\|", "|"));
        if commands.is_empty() {
            let words = span.split_whitespace().map(str::to_owned);
            commands.push(iter::once("trailload".to_owned()).chain(words).collect());
        }
        for words in commands {
            let command = words.get(1).and_then(|name| program.find_subcommand(name));
            let known = match command {
                Some(command) => &options_of(command),
                None if span.starts_with("--") => &any,
                None => continue,
            };
            let named = words.iter().filter_map(|word| option_name(word));
            let missing = named.filter(|name| !known.contains(*name) && !OF_OTHERS.contains(name));
            unknown.extend(missing.map(|name| format!("{}: --{name} in `{span}`", page.name())));
        }
    }
    unknown
}

fn options_of(command: &Command) -> BTreeSet<String> {
    command.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_owned).collect()
}

/// Returns the name of the option that a word is.
fn option_name(word: &str) -> Option<&str> {
    let name = word.strip_prefix("--")?.split(['=', '[', ',', ')', '|']).next()?;
    (!name.is_empty()).then_some(name)
}

fn missing_files(page: &Page) -> Vec<String> {
    let names_file = |span: &&str| {
        NAMED_FOLDERS.iter().any(|folder| span.starts_with(folder))
            && span.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_./".contains(letter))
    };
    let missing = page.code_spans().into_iter().filter(names_file);
    let missing = missing.filter(|span| !root().join(span).exists());
    missing.map(|span| format!("{}: there is no `{span}`", page.name())).collect()
}

// --- links ------------------------------------------------------------------------------------------------------

fn broken_links(page: &Page) -> Vec<String> {
    let mut broken = Vec::new();
    let lines: Vec<&str> = page.parts().into_iter().filter_map(Part::text).collect();
    for (target, _) in lines.join("\n").split("](").skip(1).filter_map(|rest| rest.split_once(')'))
    {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        if let Some(reason) = broken_link(page, target) {
            broken.push(format!("{}: ({target}): {reason}", page.name()));
        }
    }
    broken
}

fn broken_link(page: &Page, target: &str) -> Option<String> {
    let (file, anchor) = target.split_once('#').map_or((target, None), |(f, a)| (f, Some(a)));
    let path = match file {
        "" => page.path.clone(),
        file => page.path.parent().unwrap().join(file),
    };
    if !path.exists() {
        return Some("there is no such file".to_owned());
    }
    let anchor = anchor?;
    let linked = Page { text: fs::read_to_string(&path).unwrap(), path };
    (!anchors(&linked).contains(anchor)).then(|| "there is no such heading".to_owned())
}

/// Returns the anchors that GitHub gives the headings of a page.
fn anchors(page: &Page) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in page.parts().into_iter().filter_map(Part::text) {
        let title = line.trim_start_matches('#');
        if !line.starts_with('#') || !title.starts_with(' ') {
            continue;
        }
        let anchor: String = title
            .trim()
            .to_lowercase()
            .chars()
            .filter(|character| character.is_alphanumeric() || " -_".contains(*character))
            .map(|character| if character == ' ' { '-' } else { character })
            .collect();
        let repeated = (1..).map(|number| format!("{anchor}-{number}"));
        let free = iter::once(anchor.clone()).chain(repeated);
        anchors.insert(free.into_iter().find(|name| !anchors.contains(name)).unwrap());
    }
    anchors
}
