//! The system's allocator, counted for each thread: tests run beside each other.

#![expect(unsafe_code, reason = "an allocator is unsafe; this one only counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What one thread has done with memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// How often memory was asked for.
    pub(crate) allocation_count: u64,
    /// Asked for and not given back, as the programs asked, without the allocator's own.
    pub(crate) live_bytes: i64,
}

thread_local! {
    static USAGE: Cell<Usage> = const { Cell::new(Usage { allocation_count: 0, live_bytes: 0 }) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

pub(crate) fn usage() -> Usage {
    USAGE.get()
}

fn note(allocations: u64, bytes: i64) {
    let Usage {
        allocation_count,
        live_bytes,
    } = USAGE.get();
    USAGE.set(Usage {
        allocation_count: allocation_count + allocations,
        live_bytes: live_bytes + bytes,
    });
}

// SAFETY: every call goes to the system's allocator unchanged. Counting neither allocates nor
// unwinds: the cell is constant-initialized and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size() as i64);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(0, -(layout.size() as i64));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(1, size as i64 - layout.size() as i64);
        unsafe { System.realloc(pointer, layout, size) }
    }
}
