//! Reads pages of listings.
//!
//! In: what S3 answered. Out: folders and objects by their plain keys, and whether there is a next page.
//! Holds: a page that does not say how to go on is an error: what is behind it would be lost.

use aws_sdk_s3::{operation::list_objects_v2::ListObjectsV2Output, types::EncodingType};

use super::{bucket::Listing, error::S3Error, objects::S3Object};

/// A list says that there is more, and not how to get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BrokenPagination;

impl From<BrokenPagination> for S3Error {
    fn from(_: BrokenPagination) -> Self {
        let why = "the list breaks off: the service says that there is more, and not how to get it";
        Self::from_reason(why.to_owned())
    }
}

impl Listing {
    /// Turns to the next page, if there is one.
    ///
    /// A page that leaves out how to go on, or goes on with itself, would lose what is behind it, or never end.
    pub(super) fn advance(&mut self, page: &ListObjectsV2Output) -> Result<bool, BrokenPagination> {
        let next = page.next_continuation_token.clone().filter(|token| !token.is_empty());
        let stuck = match &next {
            Some(_) => next == self.token,
            None => page.is_truncated == Some(true),
        };
        if stuck {
            return Err(BrokenPagination);
        }
        self.token = next;
        Ok(self.token.is_some())
    }
}

/// Returns the folders of a page, with their slashes.
pub(super) fn folders(page: &ListObjectsV2Output) -> impl Iterator<Item = String> {
    let s3_uri = page.common_prefixes().iter().filter_map(|folder| folder.prefix());
    s3_uri.map(|folder| decode_key(page, folder))
}

/// Returns the objects of a page, in the order of their keys.
pub(super) fn objects(page: &ListObjectsV2Output) -> impl Iterator<Item = S3Object> {
    let listed = page.contents().iter();
    listed.filter_map(|object| Some(S3Object::new(object, decode_key(page, object.key()?))))
}

/// Returns a key as it is. Asked to, services encode keys, because XML cannot hold all of them; some do not.
fn decode_key(page: &ListObjectsV2Output, key: &str) -> String {
    let encoded = page.encoding_type == Some(EncodingType::Url);
    if !encoded || !key.contains(['%', '+']) {
        return key.to_owned();
    }
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match (first, hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_leaves_out_how_to_go_on_is_not_at_its_end() {
        let page = |truncated, token: Option<&str>| {
            let page = ListObjectsV2Output::builder().is_truncated(truncated);
            page.set_next_continuation_token(token.map(str::to_owned)).build()
        };
        let mut listing = Listing::default();
        assert_eq!(listing.advance(&page(true, Some("a"))), Ok(true));
        assert_eq!(listing.advance(&page(true, Some("a"))), Err(BrokenPagination), "for ever");
        assert_eq!(listing.advance(&page(true, Some("b"))), Ok(true));
        assert_eq!(listing.advance(&page(true, Some(""))), Err(BrokenPagination));
        assert_eq!(listing.advance(&page(true, None)), Err(BrokenPagination));
        assert_eq!(listing.advance(&page(false, None)), Ok(false));
    }
}
