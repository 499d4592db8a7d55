//! What it costs to search, open and write a country's places, and to tell whether they are open.
//!
//! The places are made up, around the towns of Germany as people live in them: three million, of
//! which some 300,000 are within 50 km of the capital.

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::io;
use std::sync::{Arc, LazyLock};
use wherd_places::hours::{Hours, open_now};
use wherd_places::{Document, Index, PlaceRef, Rank};
use wherd_proto::Position;

mod common;

const PLACE_COUNT: u64 = 3_000_000;
const BOUND: usize = 20;

static FILE: LazyLock<Arc<[u8]>> = LazyLock::new(|| common::file_of(PLACE_COUNT).into());

fn index() -> Index {
    Index::open_unverified(Arc::clone(&FILE)).expect("it was written so")
}

fn search(criterion: &mut Criterion) {
    let index = index();
    let mut towns = common::Towns::new(5);
    let anywhere: Vec<Position> = (0..1024).map(|_| towns.next_position()).collect();
    let mut group = criterion.benchmark_group("nearby 20 of 3 million");
    for radius_km in [1.0, 10.0, 50.0] {
        for rank in [Rank::Prominence, Rank::Distance] {
            let ask = |centre| index.nearby(black_box(centre), radius_km * 1000.0, BOUND, rank);
            let id = BenchmarkId::new(format!("{rank:?}, capital"), radius_km);
            group.bench_function(id, |bencher| bencher.iter(|| ask(common::capital())));
            let id = BenchmarkId::new(format!("{rank:?}, anywhere"), radius_km);
            let mut next = anywhere.iter().cycle();
            group.bench_function(id, |bencher| {
                bencher.iter(|| next.next().map(|centre| ask(*centre)));
            });
        }
    }
    group.finish();
}

fn open(criterion: &mut Criterion) {
    let million: Arc<[u8]> = common::file_of(1_000_000).into();
    criterion.bench_function("open a million", |bencher| {
        bencher.iter(|| Index::open_unverified(Arc::clone(black_box(&million))));
    });
    criterion.bench_function("open 3 million", |bencher| {
        bencher.iter(|| Index::open_unverified(Arc::clone(black_box(&FILE))));
    });
    criterion.bench_function("open a million with checksums", |bencher| {
        bencher.iter(|| Index::from_bytes(Arc::clone(black_box(&million))));
    });
}

fn write(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("100,000 places");
    group.sample_size(10);
    group.bench_function("add", |bencher| {
        bencher.iter(|| common::writer_of(black_box(100_000)));
    });
    group.bench_function("settle and write", |bencher| {
        bencher.iter_batched(
            || common::writer_of(100_000),
            |mut writer| {
                writer.settle();
                writer.finish_to(io::sink())
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn hours(criterion: &mut Criterion) {
    const NOW_S: i64 = 1_795_000_000;
    let index = index();
    let hours = Hours::new();
    let found = index.nearby(common::capital(), 50_000.0, 500, Rank::Distance);
    let with_hours: Vec<_> = found
        .iter()
        .map(|found| found.place)
        .filter(|place| !place.opening_hours().is_empty())
        .take(BOUND)
        .collect();
    assert_eq!(with_hours.len(), BOUND);
    criterion.bench_function("whether 20 places are open", |bencher| {
        bencher.iter(|| {
            let is_open = |place| hours.is_open(place, black_box(NOW_S));
            with_hours
                .iter()
                .filter(|place| is_open(place) == Some(true))
                .count()
        });
    });
    let place = with_hours[0];
    criterion.bench_function("whether one is open, nothing known", |bencher| {
        bencher.iter(|| {
            open_now(
                black_box(place.opening_hours()),
                place.time_zone(),
                place.position(),
                NOW_S,
            )
        });
    });
}

/// All that a server does for the places of a WHATSAT: search, hours, document.
fn whatsat(criterion: &mut Criterion) {
    const NOW_S: i64 = 1_795_000_000;
    let index = index();
    let hours = Hours::new();
    let mut towns = common::Towns::new(6);
    let anywhere: Vec<Position> = (0..1024).map(|_| towns.next_position()).collect();
    let mut out = Vec::new();
    let mut answer = |centre, rank| {
        out.clear();
        let found = index.nearby(black_box(centre), 50_000.0, BOUND, rank);
        let is_open = |place: &PlaceRef<'_>| hours.is_open(place, NOW_S);
        Document::of_found(&found, is_open).write(&mut out);
        out.len()
    };
    let mut group = criterion.benchmark_group("whatsat 50 20 of 3 million");
    for rank in [Rank::Prominence, Rank::Distance] {
        let id = BenchmarkId::new(format!("{rank:?}"), "capital");
        group.bench_function(id, |bencher| {
            bencher.iter(|| answer(common::capital(), rank));
        });
        let id = BenchmarkId::new(format!("{rank:?}"), "anywhere");
        let mut next = anywhere.iter().cycle();
        group.bench_function(id, |bencher| {
            bencher.iter(|| next.next().map(|centre| answer(*centre, rank)));
        });
    }
    group.finish();
}

criterion_group!(benches, search, open, write, hours, whatsat);
criterion_main!(benches);
