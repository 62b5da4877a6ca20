//! What Linux says of this process, from `/proc/self`: the metrics `process_*`. On other systems
//! there are none.

use std::fs;

/// Linux counts processor time in hundredths of a second on every machine that we run on.
const TICKS: f64 = 100.0;

/// One reading; what could not be read is missing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) virtual_memory: Option<f64>,
    pub(super) resident_memory: Option<f64>,
    pub(super) threads: Option<f64>,
    /// In seconds since 1970.
    pub(super) start_time: Option<f64>,
    pub(super) open_files: Option<f64>,
    pub(super) most_files: Option<f64>,
}

/// Reads `/proc`, which answers at once.
pub(super) fn read() -> Process {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let open = fs::read_dir("/proc/self/fd").map(|files| files.count());
    Process {
        // The folder itself is open while it is read.
        open_files: open.ok().map(|open| open.saturating_sub(1) as f64),
        ..parse(&stat, &boot, &limits, &status)
    }
}

fn parse(stat: &str, boot: &str, limits: &str, status: &str) -> Process {
    // The name of the program is in parentheses and may have spaces.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .collect();
    let field = |number: usize| -> Option<f64> { fields.get(number - 3)?.parse().ok() };
    let line = |text: &str, name: &str| -> Option<f64> {
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse().ok()
    };
    Process {
        cpu_seconds: field(14)
            .zip(field(15))
            .map(|(user, system)| (user + system) / TICKS),
        threads: field(20),
        start_time: field(22)
            .zip(line(boot, "btime"))
            .map(|(ticks, boot)| boot + ticks / TICKS),
        virtual_memory: field(23),
        resident_memory: line(status, "VmRSS:").map(|kib| kib * 1024.0),
        open_files: None,
        most_files: line(limits, "Max open files"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_the_name() {
        let stat = "7 (a (b) c) S 1 2 3 0 -1 4 5 6 7 8 150 50 0 0 20 0 9 0 1000 4096 12 18446744073709551615";
        let limits = "Max open files            1024                 524288               files\n";
        let process = parse(stat, "cpu 1\nbtime 100\n", limits, "VmRSS:\t  12 kB\n");
        assert_eq!(process.cpu_seconds, Some(2.0));
        assert_eq!(
            (process.threads, process.start_time),
            (Some(9.0), Some(110.0))
        );
        assert_eq!(process.virtual_memory, Some(4096.0));
        assert_eq!(process.resident_memory, Some(12_288.0));
        assert_eq!(process.most_files, Some(1024.0));
    }

    #[test]
    fn nothing_is_read_from_nothing() {
        assert!(parse("", "", "", "").cpu_seconds.is_none());
    }
}
