//! What the core takes: allocations and memory.

mod allocator;
mod hot_path;
mod memory;
