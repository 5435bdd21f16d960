//! Lists that the connections of a thread share: one has memory while it is at work, an idle one has none.

use std::cell::Cell;
use std::thread::LocalKey;

/// The memory of a list that nobody needs at the moment.
pub(super) type Spare<T> = LocalKey<Cell<Vec<T>>>;

/// Gives `list` the spare memory, unless it has its own.
pub(super) fn lend<T>(spare: &'static Spare<T>, list: &mut Vec<T>) {
    if list.capacity() == 0 {
        *list = spare.take();
    }
}

/// Makes the memory of `list` the spare one. What is in it is dropped.
pub(super) fn give_back<T>(spare: &'static Spare<T>, mut list: Vec<T>) {
    list.clear();
    if list.capacity() > 0 {
        spare.set(list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }

    #[test]
    fn memory_goes_from_list_to_list_and_an_empty_one_has_none() {
        let (mut first, mut second) = (Vec::with_capacity(100), Vec::new());
        first.push(1);
        give_back(&SPARE, first);
        lend(&SPARE, &mut second);
        assert!(second.is_empty() && second.capacity() >= 100);
        give_back(&SPARE, Vec::new());
        give_back(&SPARE, second);
        assert!(SPARE.take().capacity() >= 100);
    }
}
