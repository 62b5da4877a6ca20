//! Looks up fields by a template's path: any case, with or without underscores, dots for nesting
//! and numbers for list items.

use super::fields::{Fields, Value};

impl Fields {
    /// Returns the text at `path`, a dotted path of names: `ScanCodeInfo.ScanResult`,
    /// `List.1.TemplateId`.
    ///
    /// An exact match wins, then one ignoring case, then one ignoring underscores: `event_key`
    /// finds `EventKey`. A number selects among repeated names, from 0.
    pub fn lookup(&self, path: &str) -> Option<&str> {
        self.find(path)?.as_text()
    }

    fn find(&self, path: &str) -> Option<&Value> {
        // A name may itself contain dots.
        if let Some(value) = self.any_case(path).next() {
            return Some(value);
        }
        let (name, rest) = path.split_once('.')?;
        let first = self.any_case(name).next()?;
        if let Some(found) = first.as_fields().and_then(|fields| fields.find(rest)) {
            return Some(found);
        }
        let (index, rest) = rest
            .split_once('.')
            .map_or((rest, None), |(index, rest)| (index, Some(rest)));
        let item = self.any_case(name).nth(index.parse().ok()?)?;
        match rest {
            Some(rest) => item.as_fields()?.find(rest),
            None => Some(item),
        }
    }

    /// Returns all values of the closest match to `name`.
    pub(super) fn any_case<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
        let bare = |name: &str| name.replace('_', "").to_ascii_lowercase();
        let own = || self.iter().map(|(own, _)| own);
        let spelled = own().find(|own| *own == name);
        let spelled = spelled.or_else(|| own().find(|own| own.eq_ignore_ascii_case(name)));
        let spelled = spelled.or_else(|| {
            let wanted = bare(name);
            own().find(|own| !wanted.is_empty() && bare(own) == wanted)
        });
        self.iter()
            .filter(move |(own, _)| Some(*own) == spelled)
            .map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Document;

    fn fields(body: &str) -> Fields {
        Document::read(body.as_bytes()).expect("a document").fields
    }

    #[test]
    fn a_name_is_found_exactly_and_a_path_in_any_spelling() {
        let fields = fields(
            "<xml><Content>a</Content><ScanCodeInfo><ScanResult>b</ScanResult></ScanCodeInfo><Content>c</Content>\
             <debug_str>d</debug_str><order_info><order_id>e</order_id></order_info></xml>",
        );
        assert_eq!(
            (fields.text("Content"), fields.text("content")),
            (Some("a"), None)
        );
        assert_eq!(
            fields
                .all("Content")
                .filter_map(Value::as_text)
                .collect::<Vec<_>>(),
            ["a", "c"]
        );
        for (path, text) in [
            ("content", "a"),
            ("scancodeinfo.SCANRESULT", "b"),
            ("scan_code_info.scan_result", "b"),
            ("debug_str", "d"),
            ("DebugStr", "d"),
            ("order_info.order_id", "e"),
            ("OrderInfo.OrderId", "e"),
            ("Content.1", "c"),
        ] {
            assert_eq!(fields.lookup(path), Some(text), "{path}");
        }
        let nowhere = [
            "",
            ".",
            "_",
            "ScanCodeInfo",
            "Content.x",
            "Content.2",
            "ScanCodeInfo.",
            "ScanCodeInfo.Other",
            ".Content",
        ];
        for nowhere in nowhere {
            assert_eq!(fields.lookup(nowhere), None, "{nowhere:?}");
        }
    }

    #[test]
    fn the_exact_spelling_wins() {
        let fields = fields(
            r#"{"EventKey":"a","event_key":"b","eventkey":"c","x":{"0":"own"},"y.z":"dotted"}"#,
        );
        let found =
            ["event_key", "EventKey", "eventkey", "EVENT_KEY"].map(|name| fields.lookup(name));
        assert_eq!(found, [Some("b"), Some("a"), Some("c"), Some("b")]);
        assert_eq!(
            (fields.lookup("x.0"), fields.lookup("y.z")),
            (Some("own"), Some("dotted"))
        );
    }

    #[test]
    fn a_number_picks_an_item_of_a_list() {
        let fields = fields(
            r#"{"List":[{"Id":"A"},{"Id":"B","Tags":["x","y"]}],"matrix":[[1,2],[3]],"one":["z"]}"#,
        );
        for (path, text) in [
            ("List.Id", Some("A")),
            ("List.0.Id", Some("A")),
            ("list.1.id", Some("B")),
            ("List.1.Tags.1", Some("y")),
            ("List.1.Tags", Some("x")),
            ("matrix.0.item.1", Some("2")),
            ("one.0", Some("z")),
            ("List.2.Id", None),
            ("List.1", None),
            ("List.99999999999999999999.Id", None),
        ] {
            assert_eq!(fields.lookup(path), text, "{path}");
        }
    }
}
