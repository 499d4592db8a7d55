//! What it costs to find places and to write the document, beside kiddo's tree on the same points.
//!
//! kiddo is given points of the unit sphere in the order of their weights, so that its "best" are
//! the most prominent. It returns numbers of places, where the index returns places.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use kiddo::{ImmutableKdTree, SquaredEuclidean};
use std::hint::black_box;
use std::num::NonZero;
use wherd_places::{Document, Index, Rank};
use wherd_proto::Position;

const BOUND: NonZero<usize> = NonZero::new(20).expect("not 0");
const EARTH_RADIUS_KM: f64 = 6_371.008_8;

fn ucla() -> Position {
    Position::from_e7(340_689_300, -1_184_451_270).expect("on the earth")
}

fn unit_vector(position: Position) -> [f64; 3] {
    let (sin_lat, cos_lat) = position.latitude_degrees().to_radians().sin_cos();
    let (sin_lon, cos_lon) = position.longitude_degrees().to_radians().sin_cos();
    [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat]
}

fn kiddo_tree(index: &Index) -> ImmutableKdTree<f64, 3> {
    let mut places: Vec<_> = index.places().map(|p| (p.weight(), p.position())).collect();
    places.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    let points: Vec<_> = places.into_iter().map(|(_, at)| unit_vector(at)).collect();
    ImmutableKdTree::new_from_slice(&points).expect("the points are finite")
}

fn nearby(criterion: &mut Criterion) {
    let index = Index::embedded();
    let tree = kiddo_tree(&index);
    let centre = unit_vector(ucla());
    let mut group = criterion.benchmark_group("nearby");
    for radius_km in [5.0, 10.0, 50.0, 500.0] {
        for rank in [Rank::Prominence, Rank::Distance] {
            let id = BenchmarkId::new(format!("{rank:?}"), radius_km);
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    index.nearby(black_box(ucla()), radius_km * 1000.0, BOUND.get(), rank)
                });
            });
        }
        let max_chord2 = (2.0 * (radius_km / EARTH_RADIUS_KM / 2.0).sin()).powi(2);
        group.bench_function(BenchmarkId::new("kiddo best", radius_km), |bencher| {
            bencher.iter(|| {
                tree.query(black_box(&centre))
                    .best_n_within::<SquaredEuclidean<f64>>(max_chord2, BOUND)
                    .execute()
            });
        });
        group.bench_function(BenchmarkId::new("kiddo nearest", radius_km), |bencher| {
            bencher.iter(|| {
                tree.query(black_box(&centre))
                    .nearest_n::<SquaredEuclidean<f64>>(BOUND)
                    .within(max_chord2)
                    .execute()
            });
        });
    }
    group.finish();
}

fn document(criterion: &mut Criterion) {
    let index = Index::embedded();
    let mut out = Vec::new();
    for bound in [5, 20] {
        let found = index.nearby(ucla(), 10_000.0, bound, Rank::Prominence);
        criterion.bench_function(&format!("document of {bound}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                Document::of_found(black_box(&found), |_| None).write(&mut out);
            });
        });
    }
    criterion.bench_function("nearby and document of 5", |bencher| {
        bencher.iter(|| {
            out.clear();
            let found = index.nearby(black_box(ucla()), 10_000.0, 5, Rank::Prominence);
            Document::of_found(&found, |_| None).write(&mut out);
        });
    });
}

fn open(criterion: &mut Criterion) {
    let index = Index::embedded();
    let file = include_bytes!(concat!(env!("OUT_DIR"), "/embedded.places"));
    criterion.bench_function("open with checksums", |bencher| {
        bencher.iter(|| Index::from_bytes(black_box(&file[..])));
    });
    criterion.bench_function("build kiddo's tree", |bencher| {
        bencher.iter(|| kiddo_tree(&index));
    });
}

criterion_group!(benches, nearby, document, open);
criterion_main!(benches);
