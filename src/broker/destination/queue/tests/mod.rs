//! The rules of queues, one by one and at random beside a model.

mod model;
mod paging;
mod rules;
mod walk;
