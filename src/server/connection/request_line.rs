//! Non-ASCII bytes in a request line. actix's URI type rejects them, but WeChat's SDKs send them in
//! queries, and the gateway forwards a query byte for byte. So the dispatcher gets a placeholder
//! for each of these bytes, and the request gets the original query.

/// The placeholder for a non-ASCII byte.
const STAND_IN: u8 = b'~';

/// The request line of one connection's current request.
#[derive(Debug, Default)]
pub(super) struct RequestLine {
    is_reading: bool,
    /// The line so far, if it came in pieces or has non-ASCII bytes.
    line: Vec<u8>,
    /// A complete line with non-ASCII bytes.
    raw: Option<Vec<u8>>,
}

impl RequestLine {
    /// Replaces the non-ASCII bytes of the request line in `piece`.
    pub(super) fn pass(&mut self, begins_head: bool, piece: &mut [u8]) {
        if begins_head {
            (self.is_reading, self.raw) = (true, None);
            self.line.clear();
        }
        let mut rest = piece;
        while self.is_reading && !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).map(|at| at + 1);
            let (line, after) = rest.split_at_mut(end.unwrap_or(rest.len()));
            self.read(line, end.is_some());
            rest = after;
        }
    }

    fn read(&mut self, line: &mut [u8], is_whole: bool) {
        let is_plain = self.line.is_empty() && is_whole && line.is_ascii();
        if is_plain {
            // A request may be preceded by empty lines.
            self.is_reading = line.trim_ascii().is_empty();
            return;
        }
        self.line.extend_from_slice(line);
        line.iter_mut()
            .filter(|byte| !byte.is_ascii())
            .for_each(|byte| *byte = STAND_IN);
        if is_whole {
            let line = std::mem::take(&mut self.line);
            self.is_reading = line.trim_ascii().is_empty();
            self.raw = (!line.is_ascii()).then_some(line);
        }
    }

    /// Returns the query of the line, if the line has non-ASCII bytes. The inner `None` means that
    /// the query is not valid UTF-8, or that the line does not belong to the request whose query is
    /// `seen`.
    pub(super) fn take_query(&mut self, seen: &str) -> Option<Option<String>> {
        let line = self.raw.take()?;
        let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let query = target
            .iter()
            .position(|byte| *byte == b'?')
            .map_or(&[][..], |at| &target[at + 1..]);
        let query = query.split(|byte| *byte == b'#').next().unwrap_or_default();
        let masked = query
            .iter()
            .map(|byte| if byte.is_ascii() { *byte } else { STAND_IN });
        let is_same = masked.eq(seen.bytes());
        Some(String::from_utf8(query.to_vec()).ok().filter(|_| is_same))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "GET /a?b=\u{4e2d}&c=~ HTTP/1.1\r\nhost: a\u{4e2d}\r\n\r\n";
    const SEEN: &str = "b=~~~&c=~";

    #[test]
    fn the_query_is_restored_however_the_line_is_split() {
        for cut in 0..HEAD.len() {
            let (mut line, mut head) = (RequestLine::default(), HEAD.as_bytes().to_vec());
            let (first, second) = head.split_at_mut(cut);
            line.pass(true, first);
            line.pass(cut == 0, second);
            assert!(
                head.starts_with(b"GET /a?b=~~~&c=~ HTTP/1.1\r\nhost: a\xe4"),
                "{cut}"
            );
            assert_eq!(
                line.take_query(SEEN),
                Some(Some("b=\u{4e2d}&c=~".to_owned())),
                "{cut}"
            );
            assert_eq!(line.take_query(SEEN), None);
        }
    }

    #[test]
    fn a_plain_line_is_not_kept() {
        let mut line = RequestLine::default();
        line.pass(true, &mut b"\r\nGET / HTTP/1.1\r\nhost: \xe4\r\n".to_vec());
        assert_eq!((line.take_query(""), line.line.len()), (None, 0));
    }

    #[test]
    fn another_requests_query_is_not_used() {
        for head in [
            &b"GET /?b=\xff HTTP/1.1\r\n"[..],
            "GET /?b=\u{e9}&c HTTP/1.1\r\n".as_bytes(),
        ] {
            let mut line = RequestLine::default();
            line.pass(true, &mut head.to_vec());
            assert_eq!(line.take_query("b=~"), Some(None));
        }
    }
}
