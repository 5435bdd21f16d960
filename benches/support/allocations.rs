//! Counts what is taken from the heap.
//!
//! A bench that wants it says `#[global_allocator] static HEAP: Counting = Counting;`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};

/// The system's allocator, which counts.
pub(crate) struct Counting;

/// What was taken; what was given back does not count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heap {
    /// Calls, those that move a block to another size included.
    pub(crate) allocations: u64,
    pub(crate) bytes: u64,
}

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_COUNTED: Cell<bool> = const { Cell::new(true) };
}

impl Heap {
    /// Of all threads so far but those that were left out.
    pub(crate) fn taken() -> Self {
        Self {
            allocations: ALLOCATIONS.load(Ordering::Relaxed),
            bytes: BYTES.load(Ordering::Relaxed),
        }
    }

    /// What the calling thread takes from now on does not count.
    pub(crate) fn leave_out_thread() {
        IS_COUNTED.set(false);
    }

    fn note(bytes: usize) {
        // A thread that ends may have no such variable any more.
        if IS_COUNTED.try_with(Cell::get).unwrap_or(false) {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
            BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
}

impl Sub for Heap {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            allocations: self.allocations - before.allocations,
            bytes: self.bytes - before.bytes,
        }
    }
}

// Each call goes to the system's allocator as it came, so what that promises holds.
#[allow(unsafe_code, reason = "an allocator cannot be written without; benches only")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Heap::note(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Heap::note(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Heap::note(size.saturating_sub(layout.size()));
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { System.dealloc(block, layout) }
    }
}
