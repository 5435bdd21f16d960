//! The rules of topics and their subscriptions, one by one and at random beside a model.

mod bench;
mod crowd;
mod dispatch;
mod limits;
mod past;
mod walk;
