//! Lists written as one text, such as `"https://a.example/, https://b.example/"`. Extra commas are
//! ignored.

/// Splits `text` at commas, semicolons and white space, but only where `begins` accepts the rest as
/// the start of an item.
pub(super) fn items(text: &str, begins: impl Fn(&str) -> bool) -> Vec<&str> {
    let is_separator = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '，' | '；');
    let (mut items, mut rest) = (Vec::new(), text.trim_matches(is_separator));
    while !rest.is_empty() {
        let ends = rest
            .match_indices(is_separator)
            .map(|(at, _)| at)
            .find(|at| begins(rest[*at..].trim_start_matches(is_separator)));
        let (item, more) = rest.split_at(ends.unwrap_or(rest.len()));
        items.push(item.trim_end_matches(is_separator));
        rest = more.trim_start_matches(is_separator);
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_split_only_before_an_item() {
        let addresses = |text| items(text, |rest| rest.starts_with("http"));
        assert_eq!(
            addresses("http://a/,http://b/, http://c/ ;http://d/,"),
            ["http://a/", "http://b/", "http://c/", "http://d/"]
        );
        assert_eq!(addresses(" http://a/x,y "), ["http://a/x,y"]);
        assert_eq!(addresses("a b"), ["a b"]);
        assert!(addresses(" ,, ").is_empty() && addresses("").is_empty());
        assert_eq!(items("a, b c", |_| true), ["a", "b", "c"]);
    }
}
