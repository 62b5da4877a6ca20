//! Compares this machine's clock with those of WeChat and of the store.

use std::time::Duration;

use super::report::{Report, Status};
use clock::{Clock, UnixMillis};

/// A clock that is off by more makes signatures and pushed messages invalid soon.
const OFF: Duration = Duration::from_secs(30);

/// From here on they are invalid: realms and WeChat's messages are accepted for five minutes.
const FAR_OFF: Duration = Duration::from_secs(5 * 60);

/// WeChat's `Date` in Unix seconds.
pub(super) fn compare_wechat(date: Option<u64>, report: &mut Report) {
    const SECTION: &str = "clock";
    let Some(theirs) = date else {
        report.warn(
            SECTION,
            "WeChat's time is unknown, so the clock was not compared",
            ["make its hosts reachable first", "先让微信的主机可以连通"],
        );
        return;
    };
    let ours = Clock::system().wall().seconds().0;
    let off = Duration::from_secs(ours.abs_diff(theirs));
    let side = if ours > theirs { "ahead of" } else { "behind" };
    let what = format!("this clock is {} s {side} WeChat's", off.as_secs());
    add(
        SECTION,
        off,
        what,
        [
            "set the clock: timedatectl set-ntp true, or install chrony; in a virtual machine, its host's clock",
            "校准时钟：timedatectl set-ntp true，或安装 chrony；在虚拟机里，校准宿主机的时钟",
        ],
        report,
    );
}

/// The store's clock, and ours at the same moment.
pub(super) fn compare_store(
    section: &'static str,
    whose: &str,
    [theirs, ours]: [UnixMillis; 2],
    report: &mut Report,
) {
    let off = Duration::from_millis(ours.0.abs_diff(theirs.0));
    let side = if ours > theirs { "behind" } else { "ahead of" };
    let what = format!(
        "{whose} clock is {:.0} s {side} this one",
        off.as_secs_f64()
    );
    add(
        section,
        off,
        what,
        [
            "set both clocks: timedatectl set-ntp true, or install chrony, on this machine and on that of the store",
            "校准两边的时钟：在本机和存储所在的机器上 timedatectl set-ntp true，或安装 chrony",
        ],
        report,
    );
}

fn add(
    section: &'static str,
    off: Duration,
    what: String,
    cure: [&'static str; 2],
    report: &mut Report,
) {
    if off > FAR_OFF {
        report.add(section, Status::Fail, what, cure);
    } else if off > OFF {
        report.add(section, Status::Warn, what, cure);
    } else {
        report.ok(section, what);
    }
}
