//! WeChat's rules: a new token voids the previous one after five minutes, 2000 a day; a stable
//! token stays until its last five minutes, and is forced at most once in 30 s and 20 times a day;
//! a ticket needs a valid token. Its clock is exact.

use std::collections::HashMap;

use super::world::{DAY, MINUTE, SECOND};

const LIFETIME: u64 = 7200 * SECOND;
const OVERLAP: u64 = 5 * MINUTE;
/// Of tokens, by the basic endpoint.
const A_DAY: u32 = 2000;
const FORCED_A_DAY: u32 = 20;
const FORCED_SPACING: u64 = 30 * SECOND;
/// Of tickets: WeChat says only "very limited".
const TICKETS_A_DAY: u32 = 10_000;

/// One account as WeChat knows it.
#[derive(Default)]
pub(crate) struct Books {
    /// The number of the current token, from the basic and from the stable endpoint.
    current: [Option<u64>; 2],
    forced_at: Option<u64>,
    day: u64,
    /// Calls answered or refused today: tokens, of which forced, tickets.
    pub(crate) today: Calls,
    /// The most of any day.
    pub(crate) most: Calls,
}

#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) tokens: u32,
    pub(crate) forced: u32,
    pub(crate) tickets: u32,
}

/// A token or a ticket.
struct Minted {
    ends: u64,
    /// When a newer one voids it.
    cut: Option<u64>,
    /// Whether another program fetched the newer one.
    is_cut_by_stranger: bool,
    app: String,
    is_ticket: bool,
}

#[derive(Default)]
pub(crate) struct WeChat {
    pub(crate) books: HashMap<String, Books>,
    minted: HashMap<u64, Minted>,
    last: u64,
    /// The calls of now are another program's.
    pub(crate) is_stranger: bool,
}

/// A call's result: a value and its seconds, or an errcode.
pub(crate) type Said = Result<(u64, u64), i64>;

impl WeChat {
    /// `GET /cgi-bin/token`.
    pub(crate) fn basic(&mut self, app: &str, now: u64) -> Said {
        let books = self.books(app, now);
        books.today.tokens += 1;
        if books.today.tokens > A_DAY {
            return Err(45009);
        }
        if let Some(old) = books.current[0] {
            self.cut(old, now + OVERLAP);
        }
        let new = self.mint(app, now, false);
        self.books(app, now).current[0] = Some(new);
        Ok((new, LIFETIME / SECOND))
    }

    /// `POST /cgi-bin/stable_token`.
    pub(crate) fn stable(&mut self, app: &str, force: bool, now: u64) -> Said {
        let books = self.books(app, now);
        books.today.tokens += 1;
        let (current, rested) = (
            books.current[1],
            books.forced_at.is_none_or(|at| now - at >= FORCED_SPACING),
        );
        if force && rested {
            books.today.forced += 1;
            if books.today.forced > FORCED_A_DAY {
                return Err(45009);
            }
            books.forced_at = Some(now);
            current.into_iter().for_each(|old| self.cut(old, now));
        } else if let Some(current) = current
            && let Some(left) = self
                .end(current)
                .checked_sub(now)
                .filter(|left| *left > OVERLAP)
        {
            return Ok((current, left / SECOND));
        }
        let new = self.mint(app, now, false);
        self.books(app, now).current[1] = Some(new);
        Ok((new, LIFETIME / SECOND))
    }

    /// `GET /cgi-bin/ticket/getticket`.
    pub(crate) fn ticket(&mut self, token: u64, now: u64) -> Said {
        let app = self
            .minted
            .get(&token)
            .filter(|token| !token.is_ticket)
            .ok_or(40014)?
            .app
            .clone();
        let books = self.books(&app, now);
        books.today.tickets += 1;
        if books.today.tickets > TICKETS_A_DAY {
            return Err(45009);
        }
        if self.dead_since(token, now).is_some() {
            return Err(40001);
        }
        Ok((self.mint(&app, now, true), LIFETIME / SECOND))
    }

    /// Another program's forced refresh, without a limit.
    pub(crate) fn forces(&mut self, app: &str, now: u64) -> u64 {
        let current = self.books(app, now).current[1];
        self.is_stranger = true;
        current.into_iter().for_each(|old| self.cut(old, now));
        self.is_stranger = false;
        let new = self.mint(app, now, false);
        self.books(app, now).current[1] = Some(new);
        new
    }

    /// Another program's fetch from the basic endpoint.
    pub(crate) fn fetches(&mut self, app: &str, now: u64) -> Said {
        self.is_stranger = true;
        let said = self.basic(app, now);
        self.is_stranger = false;
        said
    }

    /// When this value was voided or expired, if it was. A value that WeChat never granted was
    /// always dead.
    pub(crate) fn dead_since(&self, value: u64, now: u64) -> Option<u64> {
        let Some(minted) = self.minted.get(&value) else {
            return Some(0);
        };
        Some(minted.cut.map_or(minted.ends, |cut| cut.min(minted.ends))).filter(|end| *end <= now)
    }

    /// When this value expired.
    pub(crate) fn end(&self, value: u64) -> u64 {
        self.minted.get(&value).map_or(0, |minted| minted.ends)
    }

    /// The account of this value.
    pub(crate) fn owner(&self, value: u64) -> Option<&str> {
        self.minted.get(&value).map(|minted| minted.app.as_str())
    }

    /// The current value.
    pub(crate) fn newest(&self, app: &str) -> Option<u64> {
        self.books.get(app)?.current.into_iter().flatten().max()
    }

    fn books(&mut self, app: &str, now: u64) -> &mut Books {
        let books = self.books.entry(app.to_owned()).or_default();
        if books.day != now / DAY {
            (books.day, books.today) = (now / DAY, Calls::default());
        }
        books.most.tokens = books.most.tokens.max(books.today.tokens + 1);
        books.most.forced = books.most.forced.max(books.today.forced);
        books.most.tickets = books.most.tickets.max(books.today.tickets + 1);
        books
    }

    fn cut(&mut self, value: u64, at: u64) {
        let is_stranger = self.is_stranger;
        if let Some(minted) = self.minted.get_mut(&value)
            && minted.cut.is_none_or(|cut| at < cut)
        {
            (minted.cut, minted.is_cut_by_stranger) = (Some(at), is_stranger);
        }
    }

    /// When this value was granted; 0 if it never was.
    pub(crate) fn granted_at(&self, value: u64) -> u64 {
        self.end(value).saturating_sub(LIFETIME)
    }

    /// Whether another program has voided this value.
    pub(crate) fn is_cut_by_stranger(&self, value: u64) -> bool {
        self.minted
            .get(&value)
            .is_some_and(|minted| minted.is_cut_by_stranger)
    }

    fn mint(&mut self, app: &str, now: u64, is_ticket: bool) -> u64 {
        self.last += 1;
        self.minted.retain(|_, minted| minted.ends + DAY > now);
        self.minted.insert(
            self.last,
            Minted {
                ends: now + LIFETIME,
                cut: None,
                is_cut_by_stranger: false,
                app: app.to_owned(),
                is_ticket,
            },
        );
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_basic_token_voids_the_old_after_five_minutes() {
        let mut wechat = WeChat::default();
        let (first, _) = wechat.basic("wx1", 0).unwrap();
        wechat.basic("wx1", MINUTE).unwrap();
        assert_eq!(wechat.dead_since(first, 6 * MINUTE - 1), None);
        assert_eq!(wechat.dead_since(first, 6 * MINUTE), Some(6 * MINUTE));
    }

    #[test]
    fn the_stable_token_stays_until_its_last_five_minutes() {
        let mut wechat = WeChat::default();
        let (first, _) = wechat.stable("wx1", false, 0).unwrap();
        assert_eq!(wechat.stable("wx1", false, 100 * SECOND), Ok((first, 7100)));
        let (second, _) = wechat.stable("wx1", true, 100 * SECOND).unwrap();
        assert_ne!(second, first);
        assert_eq!(wechat.dead_since(first, 100 * SECOND), Some(100 * SECOND));
        assert_eq!(
            wechat.stable("wx1", true, 129 * SECOND).unwrap().0,
            second,
            "forced too soon"
        );
        let (third, _) = wechat
            .stable("wx1", false, 100 * SECOND + LIFETIME - OVERLAP)
            .unwrap();
        assert_ne!(third, second);
        assert_eq!(
            wechat.dead_since(second, 100 * SECOND + LIFETIME - 1),
            None,
            "it lives to its end"
        );
    }

    #[test]
    fn quotas_are_per_day() {
        let mut wechat = WeChat::default();
        for _ in 0..A_DAY {
            wechat.basic("wx1", 0).unwrap();
        }
        assert_eq!(wechat.basic("wx1", DAY - 1), Err(45009));
        assert!(wechat.basic("wx1", DAY).is_ok());
    }

    #[test]
    fn a_ticket_needs_a_valid_token() {
        let mut wechat = WeChat::default();
        let (token, _) = wechat.basic("wx1", 0).unwrap();
        let (ticket, _) = wechat.ticket(token, 0).unwrap();
        assert_eq!(wechat.ticket(token, LIFETIME), Err(40001));
        assert_eq!(wechat.ticket(ticket, 0), Err(40014));
        assert_eq!(wechat.ticket(999, 0), Err(40014));
    }
}
