//! Where a redirect leads, for the message about it. It is never followed.
//!
//! In: the address given, what was asked, and the `Location` of the answer. Out: a [`Way`].
//! Holds: no credentials, and nothing of a query, which may hold a token.

use url::Url;

use super::identify::words;
use super::take_userinfo;

/// Where an answer sends us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// The place, for a person.
    pub(super) to: String,
    /// What would be given as `--into` to have the same asked there; `None` if the place looks like a page of another
    /// program, such as a login.
    pub(super) address: Option<String>,
}

/// Returns where `location` leads, which was the answer to `asked` at the engine's address `base`.
pub(super) fn way(base: &Url, asked: &Url, location: &str) -> Way {
    let Some(mut to) = place(asked, location) else {
        let to =
            if location.is_empty() { "nowhere (the answer has no Location)" } else { location };
        return Way { to: words(to.as_bytes()), address: None };
    };
    let below = asked.path().strip_prefix(base.path()).unwrap_or_default();
    let shown = to.to_string();
    let path = to.path().trim_end_matches('/');
    let Some(path) = path.strip_suffix(below.trim_end_matches('/')).map(str::to_owned) else {
        return Way { to: shown, address: None };
    };
    let elsewhere = to.origin() != base.origin();
    to.set_path(path.trim_end_matches('/'));
    let address = to.as_str().trim_end_matches('/').to_owned();
    // On the same server another path is more often a login page than an engine, unless the whole path moved.
    let same_call = elsewhere || !below.is_empty();
    Way { to: shown, address: Some(address).filter(|_| same_call) }
}

/// Returns the place as an address without credentials, query and fragment.
fn place(asked: &Url, location: &str) -> Option<Url> {
    let mut to = asked.join(location).ok().filter(|_| !location.is_empty())?;
    if !matches!(to.scheme(), "http" | "https") {
        return None;
    }
    take_userinfo(&mut to);
    to.set_query(None);
    to.set_fragment(None);
    Some(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_to_use_is_found_in_the_location() {
        let table = [
            (
                "",
                "https://search.example/",
                "https://search.example/",
                Some("https://search.example"),
            ),
            (
                "",
                "https://me:hush@search.example:9243/es/?token=hush#hush",
                "https://search.example:9243/es/",
                Some("https://search.example:9243/es"),
            ),
            (
                "_bulk?x=1",
                "https://search.example/es/_bulk?x=1",
                "https://search.example/es/_bulk",
                Some("https://search.example/es"),
            ),
            (
                "_bulk?x=1",
                "//other.example/_bulk",
                "http://other.example/_bulk",
                Some("http://other.example"),
            ),
            (
                "_bulk",
                "/es/_bulk",
                "http://search.example/es/_bulk",
                Some("http://search.example/es"),
            ),
            ("", "/login?next=%2F", "http://search.example/login", None),
            ("_bulk", "https://sso.example/login", "https://sso.example/login", None),
            ("", "javascript:alert(1)", "javascript:alert(1)", None),
            ("", "", "nowhere (the answer has no Location)", None),
            ("", "http://search.example/\u{1b}[2J", "http://search.example/%1B[2J", None),
        ];
        let base: Url = "http://search.example/".parse().unwrap();
        for (path, location, to, address) in table {
            let expected = Way { to: to.to_owned(), address: address.map(str::to_owned) };
            assert_eq!(way(&base, &base.join(path).unwrap(), location), expected, "{location}");
        }
    }

    #[test]
    fn a_path_before_the_engine_is_left_out() {
        let base: Url = "http://gate.example/es/".parse().unwrap();
        let asked = base.join("_index_template/cloudtrail").unwrap();
        let way = way(&base, &asked, "https://gate.example/es/_index_template/cloudtrail");
        assert_eq!(way.address.as_deref(), Some("https://gate.example/es"));
    }
}
