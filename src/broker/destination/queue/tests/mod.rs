//! The rules of queues, one by one and at random beside a model.

mod bench;
mod cursors;
mod model;
mod paging;
mod policies;
mod reading;
mod room;
mod rules;
mod shared;
mod walk;
