//! Handles a code from a phone: exchanges it once; the first identified user becomes the login's
//! user.

use std::net::IpAddr;

use super::{Person, Phase, Scan, Scanned, scan_key};
use crate::login::exchange::{Known, Outcome, print_of};
use crate::login::limits::Key;
use crate::login::{Failure, LoginError, Logins, POLL_INTERVAL};
use wechat::account::Account;

impl Logins {
    /// Exchanges `code` unless that was already done, and returns the outcome.
    pub(super) async fn settle_scan(
        &self,
        account: &Account,
        id: &str,
        code: &str,
        confirm: Option<bool>,
        from: Option<IpAddr>,
    ) -> Result<Scanned, LoginError> {
        let print = print_of(account.app_id.as_str(), code);
        if let Some(known) = self.begin_exchange(account, id, &print, from).await? {
            self.remember_refusal(id, code, &known);
            return Ok(known);
        }
        let met = self.visitor(account, code).await;
        let conclude = |scan: &mut Scan| {
            let outcome = match (&met, &scan.person) {
                (Err(failure), _) => Outcome::Failed(*failure),
                (Ok(visitor), Some(person)) if visitor.openid == person.openid => Outcome::Theirs,
                (Ok(_), Some(_)) => Outcome::Another,
                (Ok(visitor), None) => {
                    scan.phase = if confirm.unwrap_or(scan.by_page) {
                        Phase::Asking
                    } else {
                        Phase::Done
                    };
                    scan.person = Some(Person::new(visitor.clone()));
                    Outcome::Theirs
                }
            };
            scan.exchanges.conclude(&print, outcome);
            (outcome, true)
        };
        let Some((scan, outcome)) = self.change_scan(id, conclude).await? else {
            return Ok(Scanned::Unknown);
        };
        if outcome == Outcome::Theirs {
            self.0.limits.mark_used(Key::Scan(Key::number(id)));
            self.0.waiting.ring(id);
        }
        let seen = scan.after(outcome);
        self.remember_refusal(id, code, &seen);
        Ok(seen)
    }

    /// Marks the code as being exchanged, or returns its known outcome. Waits for an exchange in
    /// flight on another instance.
    async fn begin_exchange(
        &self,
        account: &Account,
        id: &str,
        code: &str,
        from: Option<IpAddr>,
    ) -> Result<Option<Scanned>, LoginError> {
        let (clock, mut is_counted) = (&self.0.clock, false);
        let give_up = clock.steady().plus(self.exchange_patience());
        loop {
            let found = self
                .scan(id)
                .await?
                .filter(|found| found.record.app == account.app_id.as_str());
            let Some(found) = found else {
                return Ok(Some(Scanned::Unknown));
            };
            let scan = &found.record;
            return Ok(Some(match scan.exchanges.about(code, clock.wall()) {
                Known::New => {
                    if !is_counted {
                        self.count_exchange(from).await?;
                        is_counted = true;
                    }
                    let mut begun = scan.clone();
                    begun.exchanges.begin(code, clock.wall());
                    if self
                        .0
                        .records
                        .replace(&scan_key(id), &found, &begun)
                        .await?
                    {
                        return Ok(None);
                    }
                    continue;
                }
                Known::UnderWay if clock.steady() < give_up => {
                    tokio::time::sleep(POLL_INTERVAL).await;
                    continue;
                }
                Known::UnderWay | Known::Lost => scan.after(Outcome::Failed(Failure::TimedOut)),
                Known::Concluded(outcome) => scan.after(outcome),
                Known::TooMany if scan.person.is_some() => scan.after(Outcome::Another),
                Known::TooMany => {
                    if scan.exchanges.are_over() {
                        self.0.refused_scans.remember(&[id], Scanned::Unknown);
                    }
                    Scanned::Unknown
                }
            }));
        }
    }

    fn remember_refusal(&self, id: &str, code: &str, scanned: &Scanned) {
        if matches!(scanned, Scanned::Failed { .. }) {
            self.0.refused_scans.remember(&[id, code], scanned.clone());
        }
    }
}

impl Scan {
    /// Returns what to show the user whose code has this `outcome`.
    fn after(&self, outcome: Outcome) -> Scanned {
        match outcome {
            Outcome::Failed(failure) => Scanned::Failed {
                failure,
                app_id: self.app.clone(),
            },
            Outcome::Theirs => self.seen(),
            Outcome::Another => Scanned::Taken {
                site: self.site.clone(),
            },
        }
    }
}
