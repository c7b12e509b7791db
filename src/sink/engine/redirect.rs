//! Determines where a redirect leads, for the error message. Redirects are never followed.
//!
//! Input: the engine's URL, the URL requested, and the `Location` of the response. Output: a [`RedirectTarget`].
//! Invariant: it contains no credentials, and nothing of a query, which may contain a token.

use url::Url;

use super::credentials::take_userinfo;
use super::excerpt::excerpt;

/// Where a response redirects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RedirectTarget {
    /// The location, for display.
    pub(super) location: String,
    /// The value of `--into` for which the same request would go to the location; `None` if the location looks like a
    /// page of another program, such as a login page.
    pub(super) address: Option<String>,
}

/// Returns where `location` leads, which was the response to `requested` below the engine's URL `base`.
pub(super) fn target(base: &Url, requested: &Url, location: &str) -> RedirectTarget {
    let Some(mut url) = resolve(requested, location) else {
        let location = if location.is_empty() { "nowhere (no Location header)" } else { location };
        return RedirectTarget { location: excerpt(location.as_bytes()), address: None };
    };
    let below = requested.path().strip_prefix(base.path()).unwrap_or_default();
    let location = url.to_string();
    let path = url.path().trim_end_matches('/');
    let Some(path) = path.strip_suffix(below.trim_end_matches('/')).map(str::to_owned) else {
        return RedirectTarget { location, address: None };
    };
    let is_other_server = url.origin() != base.origin();
    url.set_path(path.trim_end_matches('/'));
    let address = url.as_str().trim_end_matches('/').to_owned();
    // Another path on the same server is more often a login page than an engine, unless the whole path moved.
    let is_same_request = is_other_server || !below.is_empty();
    RedirectTarget { location, address: Some(address).filter(|_| is_same_request) }
}

/// Resolves a location to a URL without credentials, query and fragment.
fn resolve(requested: &Url, location: &str) -> Option<Url> {
    let mut url = requested.join(location).ok().filter(|_| !location.is_empty())?;
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    take_userinfo(&mut url);
    url.set_query(None);
    url.set_fragment(None);
    Some(url)
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
            ("", "", "nowhere (no Location header)", None),
            ("", "http://search.example/\u{1b}[2J", "http://search.example/%1B[2J", None),
        ];
        let base: Url = "http://search.example/".parse().unwrap();
        for (path, location, expected, address) in table {
            let expected = RedirectTarget {
                location: expected.to_owned(),
                address: address.map(str::to_owned),
            };
            assert_eq!(target(&base, &base.join(path).unwrap(), location), expected, "{location}");
        }
    }

    #[test]
    fn the_path_prefix_of_an_engine_is_kept() {
        let base: Url = "http://gate.example/es/".parse().unwrap();
        let requested = base.join("_index_template/cloudtrail").unwrap();
        let target =
            target(&base, &requested, "https://gate.example/es/_index_template/cloudtrail");
        assert_eq!(target.address.as_deref(), Some("https://gate.example/es"));
    }
}
