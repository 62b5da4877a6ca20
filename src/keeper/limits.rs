//! How often callers may have a credential renewed by force. The counts live in the store, so that all instances draw on one.

use std::time::Duration;

use super::holding::Holding;
use super::{Keeper, KeeperError};
use crate::credential::CredentialKind;

/// WeChat spaces forced renewals by this much on the stable endpoint; we do so on both. Source: 获取稳定版接口调用凭据, force_refresh.
pub(super) const ROTATION_SPACING: Duration = Duration::from_secs(30);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How far the clocks of China are ahead of UTC.
const CHINA: Duration = Duration::from_secs(8 * 3600);

/// How far the limits on forced renewals let one go.
pub(super) enum Rotation {
    Granted,
    /// Not by force, but what WeChat holds for current may be asked for.
    OnlyAsk,
    /// Not yet: one was less than 30 s ago.
    TooSoon,
    /// No more today.
    Spent,
}

impl Keeper {
    /// Whether one more forced renewal is within the limits: so many a day, and never two within 30 s.
    pub(super) async fn may_rotate(&self, holding: &Holding, kind: CredentialKind) -> Result<Rotation, KeeperError> {
        let (key, daily) = (holding.key(kind), holding.account.rotations_per_day);
        if !self.0.store.spend(&spacing(holding, kind), 1, ROTATION_SPACING).await? {
            return Ok(Rotation::TooSoon);
        }
        // WeChat counts by the day of China, where no clock is ever changed.
        let day = self.0.clock.wall().plus(CHINA).seconds().0 / DAY.as_secs();
        Ok(match self.0.store.spend(&format!("{key}.rotations.{day}"), daily, DAY).await? {
            true => Rotation::Granted,
            // Somebody else's force may have voided what we hold; what is current now can be asked without any.
            false if kind == CredentialKind::AccessToken && !self.voids(holding) => Rotation::OnlyAsk,
            false => Rotation::Spent,
        })
    }

    /// WeChat granted nothing: the 30 s count from the last forced renewal, and this was none. The day's count stays, so that a WeChat that
    /// refuses is not asked without end.
    pub(super) async fn give_rotation_back(&self, holding: &Holding, kind: CredentialKind) {
        if let Err(error) = self.0.store.refund(&spacing(holding, kind)).await {
            self.0.outage.failed(&error, self.0.clock.steady());
        }
    }
}

fn spacing(holding: &Holding, kind: CredentialKind) -> String {
    format!("{}.rotation", holding.key(kind))
}
