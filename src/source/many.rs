//! Several sources, listed as one.
//!
//! In: files and folders, and sources that are far away. Out: all that they find.
//! Holds: files come first, as they are near; the others are listed beside each other, since each waits for its own
//! service. A source that fails as a whole is told, and the others go on: only if nothing is left is it the end.

use std::{
    mem,
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

use super::{Error, Source, SourceEvent};

/// Found things that wait for the lister. None: each source has a queue of its own.
const WAITING: usize = 0;

/// Sources that are listed as one.
#[derive(Default)]
pub struct CombinedSource {
    near: Option<Box<dyn Source>>,
    /// The SOURCE words of what is near, by the numbers that it uses.
    words: Vec<usize>,
    /// Each with the number of the SOURCE word that is told if it fails.
    far: Vec<(usize, Box<dyn Source>)>,
    with_failures: Vec<(usize, Error)>,
}

impl CombinedSource {
    /// Adds what is listed first. It numbers its own words; `words` are their numbers among all.
    #[must_use]
    pub fn with_local(mut self, files: impl Source + 'static, words: Vec<usize>) -> Self {
        self.near = Some(Box::new(files));
        self.words = words;
        self
    }

    /// Adds what is listed beside others of its kind; `word` is the number of its SOURCE word.
    #[must_use]
    pub fn with_remote(mut self, word: usize, source: impl Source + 'static) -> Self {
        self.far.push((word, Box::new(source)));
        self
    }

    /// Adds what failed before there was anything to list.
    #[must_use]
    pub fn failed(mut self, failed: impl IntoIterator<Item = (usize, Error)>) -> Self {
        self.with_failures.extend(failed);
        self
    }
}

impl Source for CombinedSource {
    fn list(&mut self, found: &mut dyn FnMut(usize, SourceEvent) -> bool) -> Result<(), Error> {
        let mut wanted = true;
        let mut tell = |word, what| {
            wanted = wanted && found(word, what);
            wanted
        };
        for (word, error) in mem::take(&mut self.with_failures) {
            tell(word, SourceEvent::Failed(error));
        }
        if let Some(files) = &mut self.near {
            let words = &self.words;
            files.list(&mut |word, what| tell(words.get(word).copied().unwrap_or(word), what))?;
        }
        if !wanted {
            return Ok(());
        }
        match (&self.near, self.far.as_mut_slice()) {
            (_, []) => Ok(()),
            // The usual case needs no thread.
            (None, [(_, only)]) => only.list(found),
            (near, several) => {
                let spare = near.is_some();
                list_beside(several, spare, found)
            }
        }
    }
}

/// What a source's thread hands over.
enum Word {
    Found(usize, SourceEvent),
    Failed(usize, Error),
}

/// Lists sources, each in a thread of its own. If all fail and there is no `spare` one, that is the end.
fn list_beside(
    sources: &mut [(usize, Box<dyn Source>)],
    spare: bool,
    found: &mut dyn FnMut(usize, SourceEvent) -> bool,
) -> Result<(), Error> {
    let (mut left, mut last) = (sources.len(), None);
    let (out, words) = sync_channel(WAITING);
    thread::scope(|scope| {
        for (word, source) in sources {
            let out = out.clone();
            scope.spawn(move || list_one(*word, source.as_mut(), &out));
        }
        drop(out);
        // Left as soon as nobody wants more: then nobody takes what the threads hand over, and they end.
        for word in words {
            let (word, what) = match word {
                Word::Found(word, what) => (word, what),
                Word::Failed(word, error) => {
                    left -= 1;
                    if left == 0 && !spare {
                        last = Some(error);
                        continue;
                    }
                    (word, SourceEvent::Failed(error))
                }
            };
            if !found(word, what) {
                break;
            }
        }
    });
    last.map_or(Ok(()), Err)
}

fn list_one(word: usize, source: &mut dyn Source, out: &SyncSender<Word>) {
    let listed = source.list(&mut |word, what| out.send(Word::Found(word, what)).is_ok());
    if let Err(error) = listed {
        // Nobody listens any more: the run ends for another reason.
        let _ = out.send(Word::Failed(word, error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds so many things to skip, and fails then if it is to.
    struct Fake(usize, usize, bool);

    impl Source for Fake {
        fn list(&mut self, found: &mut dyn FnMut(usize, SourceEvent) -> bool) -> Result<(), Error> {
            let Self(word, count, fails) = *self;
            for number in 0..count {
                let what = SourceEvent::Skipped { name: number.to_string(), why: String::new() };
                if !found(word, what) {
                    return Ok(());
                }
            }
            if fails { Err(error(word)) } else { Ok(()) }
        }
    }

    fn error(word: usize) -> Error {
        Error::UnknownScheme { word: word.to_string() }
    }

    /// Lists, up to so many things; returns the words of what was skipped, of what failed, and the end.
    fn listed(mut many: CombinedSource, most: usize) -> (Vec<usize>, Vec<usize>, Option<String>) {
        let (mut skipped, mut failed) = (Vec::new(), Vec::new());
        let end = many.list(&mut |word, what| {
            match what {
                SourceEvent::Failed(_) => failed.push(word),
                _ => skipped.push(word),
            }
            skipped.len() < most
        });
        (skipped, failed, end.err().map(|error| error.about().to_owned()))
    }

    #[test]
    fn files_come_first_and_the_others_all_come() {
        let many = CombinedSource::default()
            .with_local(Fake(0, 3, false), vec![0])
            .with_remote(1, Fake(1, 40, false))
            .with_remote(2, Fake(2, 30, false));
        let (mut skipped, failed, end) = listed(many, usize::MAX);
        assert_eq!(skipped[..3], [0, 0, 0]);
        skipped.sort_unstable();
        assert_eq!(skipped.iter().filter(|word| **word == 1).count(), 40);
        assert_eq!(skipped.len(), 73);
        assert_eq!((failed, end), (vec![], None));
    }

    #[test]
    fn a_source_that_fails_is_told_and_the_others_go_on() {
        let both = |fails| {
            CombinedSource::default()
                .with_remote(0, Fake(0, 2, true))
                .with_remote(1, Fake(1, 5, fails))
        };
        let (skipped, failed, end) = listed(both(false), usize::MAX);
        assert_eq!((skipped.len(), failed, end), (7, vec![0], None));
        let (skipped, failed, end) = listed(both(true), usize::MAX);
        assert_eq!((skipped.len(), failed.len()), (7, 1), "the last one is the end");
        assert!(end.is_some());
        let with_files = CombinedSource::default()
            .with_local(Fake(1, 1, false), vec![9, 0])
            .with_remote(1, Fake(1, 0, true));
        assert_eq!(listed(with_files, usize::MAX), (vec![0], vec![1], None));
        let (_, failed, end) =
            listed(CombinedSource::default().with_remote(3, Fake(3, 0, true)), usize::MAX);
        assert_eq!((failed, end), (vec![], Some("3".to_owned())));
    }

    #[test]
    fn what_failed_before_is_told_once() {
        let many =
            CombinedSource::default().failed([(4, error(4))]).with_remote(0, Fake(0, 1, false));
        assert_eq!(listed(many, usize::MAX), (vec![0], vec![4], None));
    }

    #[test]
    fn it_ends_when_nobody_wants_more() {
        let many = || {
            CombinedSource::default()
                .with_local(Fake(0, 3, false), vec![0])
                .with_remote(1, Fake(1, 1_000_000, false))
                .with_remote(2, Fake(2, 1_000_000, true))
        };
        for most in [1, 3, 4, 50] {
            let (skipped, failed, end) = listed(many(), most);
            assert_eq!((skipped.len(), failed, end), (most, vec![], None));
        }
    }
}
