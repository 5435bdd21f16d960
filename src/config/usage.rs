//! `<systemUsage>`: how much memory and disk the broker may take.

use std::time::Duration;

use super::macros::element;
use super::units::{MemorySize, Percent};

element! {
    pub struct SystemUsage = "systemUsage" {
        /// What advisories about full destinations call it.
        name: String = "name", "default".into(), active;
        /// Fail a send at once when there is no space, instead of holding the producer back.
        send_fail_if_no_space: bool = "sendFailIfNoSpace", false, active;
        /// Fail a send after waiting this long; 0 = wait for ever.
        send_fail_if_no_space_after_timeout: Duration =
            "sendFailIfNoSpaceAfterTimeout", Duration::ZERO, active;
        memory: MemoryUsage = "memoryUsage", MemoryUsage::default(), active;
        store: StoreUsage = "storeUsage", StoreUsage::default(), active;
        temp: TempUsage = "tempUsage", TempUsage::default(), active;
        job_scheduler: JobSchedulerUsage =
            "jobSchedulerUsage", JobSchedulerUsage::default(), active;
    }
    without_effect {
        "parent", "adapter", "tempStore", "jobSchedulerStore",
        "checkLimitsLogLevel" = "warn", "sendFailIfNoSpaceExplicitySet",
    }
}

impl SystemUsage {
    /// That of a broker whose configuration has none.
    pub fn unwritten() -> Self {
        Self { name: "Main".into(), ..Self::default() }
    }
}

element! {
    /// Messages in memory. A share of the heap wins over `limit`.
    pub struct MemoryUsage = "memoryUsage" {
        limit: Option<MemorySize> = "limit", None, active;
        percent_of_jvm_heap: Option<Percent> = "percentOfJvmHeap", None, active;
    }
    without_effect {
        "name", "parent", "limiter", "usage",
        "usagePortion" = "1.0", "percentUsageMinDelta" = "1", "pollingTime" = "100",
        "percentUsage", "portion" = "1.0",
    }
}

impl MemoryUsage {
    /// The limit in bytes, where `heap_bytes` stands for the Java heap.
    pub fn limit_bytes(&self, heap_bytes: u64) -> u64 {
        match (self.percent_of_jvm_heap, self.limit) {
            (Some(percent), _) => percent.of(heap_bytes),
            (None, Some(limit)) => limit.bytes(),
            (None, None) => MemorySize::gib(1).bytes(),
        }
    }
}

/// A limit of something on disk.
macro_rules! disk_usage {
    ($(#[$meta:meta])* pub struct $Usage:ident = $element:literal, $limit:expr) => {
        element! {
            $(#[$meta])*
            pub struct $Usage = $element {
                limit: MemorySize = "limit", $limit, active;
                /// Of `total`, or of the partition; wins over `limit`. 0 = unset.
                percent_limit: Option<Percent> = "percentLimit", None, active;
                /// What `percentLimit` is a share of; unset or 0 = the partition.
                total: Option<MemorySize> = "total", None, active;
            }
            without_effect {
                "name", "parent", "limiter", "usage", "store",
                "usagePortion" = "1.0", "percentUsageMinDelta" = "1", "pollingTime" = "1000",
            }
        }

        impl $Usage {
            /// The limit in bytes on a partition of that size.
            pub fn limit_bytes(&self, partition_bytes: u64) -> u64 {
                let total = self.total.map(MemorySize::bytes).filter(|total| *total > 0);
                match self.percent_limit.filter(|percent| percent.0 > 0) {
                    Some(percent) => percent.of(total.unwrap_or(partition_bytes)),
                    None => self.limit.bytes(),
                }
            }
        }
    };
}

disk_usage! {
    /// Persistent messages on disk.
    pub struct StoreUsage = "storeUsage", MemorySize::gib(100)
}
disk_usage! {
    /// Non-persistent messages spilled to disk.
    pub struct TempUsage = "tempUsage", MemorySize::gib(50)
}
disk_usage! {
    /// Scheduled messages on disk.
    pub struct JobSchedulerUsage = "jobSchedulerUsage", MemorySize::gib(50)
}
