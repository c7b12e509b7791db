//! Parses pages of listings.
//!
//! Input: ListObjectsV2 responses. Output: folders and objects by their decoded keys, and whether there is a next
//! page.
//! Invariant: a truncated page without a usable continuation token is an error, because the remaining keys would be
//! lost.

use aws_sdk_s3::{operation::list_objects_v2::ListObjectsV2Output, types::EncodingType};
use percent_encoding::percent_decode_str;

use super::{bucket::Listing, error::S3Error, objects::S3Object};

/// A truncated page has no continuation token, or repeats the one of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BrokenPagination;

impl From<BrokenPagination> for S3Error {
    fn from(_: BrokenPagination) -> Self {
        let why = "the listing is truncated, but has no usable continuation token";
        Self::from_reason(why.to_owned())
    }
}

impl Listing {
    /// Advances to the next page, if there is one.
    ///
    /// # Errors
    ///
    /// Returns [`BrokenPagination`] if the next page cannot be requested.
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

/// Returns the common prefixes of a page, with their slashes.
pub(super) fn folders(page: &ListObjectsV2Output) -> impl Iterator<Item = String> {
    let s3_uri = page.common_prefixes().iter().filter_map(|folder| folder.prefix());
    s3_uri.map(|folder| decode_key(page, folder))
}

/// Returns the objects of a page, ordered by key.
pub(super) fn objects(page: &ListObjectsV2Output) -> impl Iterator<Item = S3Object> {
    let listed = page.contents().iter();
    listed.filter_map(|object| Some(S3Object::new(object, decode_key(page, object.key()?))))
}

/// Decodes a key. URL encoding is requested because XML cannot represent all keys, but some services ignore it.
fn decode_key(page: &ListObjectsV2Output, key: &str) -> String {
    let encoded = page.encoding_type == Some(EncodingType::Url);
    if !encoded || !key.contains(['%', '+']) {
        return key.to_owned();
    }
    percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy().into_owned()
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
