//! Lists whose memory the tasks of a thread share: one has it while it is at work, an idle one has none.

use std::cell::RefCell;
use std::thread::LocalKey;

/// The memory of lists that nobody needs at the moment.
pub(crate) type Spare<T> = LocalKey<RefCell<Vec<Vec<T>>>>;

/// How many lists are kept: some that were filled are on their way when the next one is begun.
const LISTS_MAX: usize = 4;

/// Gives `list` spare memory, unless it has its own.
pub(crate) fn lend<T>(spare: &'static Spare<T>, list: &mut Vec<T>) {
    if list.capacity() == 0
        && let Some(memory) = spare.with_borrow_mut(Vec::pop)
    {
        *list = memory;
    }
}

/// Makes the memory of `list` spare. What is in it is dropped.
pub(crate) fn give_back<T>(spare: &'static Spare<T>, mut list: Vec<T>) {
    list.clear();
    spare.with_borrow_mut(|lists| {
        if list.capacity() > 0 && lists.len() < LISTS_MAX {
            lists.push(list);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
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
        assert_eq!(SPARE.take().iter().filter(|list| list.capacity() >= 100).count(), 1);
    }

    #[test]
    fn no_more_lists_are_kept_than_are_on_their_way() {
        (0..10).for_each(|_| give_back(&SPARE, Vec::with_capacity(1)));
        assert_eq!(SPARE.take().len(), LISTS_MAX);
    }
}
