//! Who may be the master of a store.

pub(crate) mod ofd_lock;
