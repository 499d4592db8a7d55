//! A block of an OSM PBF file: up to 8,000 elements, with the texts and the scale that they share.
//!
//! Every index is checked: what a block says is told, or it is an error.

use super::ImportError;
use super::pbf::damaged;
use super::protobuf::{Fields, InBlock, Value, signed, varint};

/// The tags of an element: keys and values.
pub(super) type Tags<'a> = Vec<(&'a str, &'a str)>;

/// Latitude and longitude in units of 1e-7 degree.
pub(super) type Point = (i32, i32);

/// A way: an outline or a line of nodes.
pub(super) struct Way<'a> {
    pub(super) id: u64,
    pub(super) tags: &'a Tags<'a>,
    pub(super) nodes: &'a [i64],
}

/// A relation: a group of elements.
pub(super) struct Relation<'a> {
    pub(super) id: u64,
    pub(super) tags: &'a Tags<'a>,
    /// Each with its role.
    pub(super) members: &'a [(Member, &'a str)],
}

/// What belongs to a relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Member {
    Node(i64),
    Way(i64),
}

/// What is told of a block: what a method is not given for is passed over.
pub(super) trait Visitor {
    /// Whether nodes are of interest.
    const NODES: bool = false;
    /// Whether ways are of interest.
    const WAYS: bool = false;
    /// Whether relations are of interest.
    const RELATIONS: bool = false;

    fn node(&mut self, _id: i64, _point: Point, _tags: &Tags<'_>) {}
    fn way(&mut self, _way: &Way<'_>) {}
    fn relation(&mut self, _relation: &Relation<'_>) {}
}

/// Tells a visitor the elements of a block, and the caller which kinds it has.
pub(super) fn visit<V: Visitor>(
    bytes: &[u8],
    offset: u64,
    visitor: &mut V,
) -> Result<BlockEntry, ImportError> {
    let mut entry = BlockEntry {
        offset,
        has_nodes: false,
        has_ways: false,
    };
    Block::read(bytes)
        .and_then(|block| block.visit(visitor, &mut entry))
        .map_err(|reason| damaged(reason)(offset))?;
    Ok(entry)
}

/// Where a block of elements is in the file, and what it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockEntry {
    pub(super) offset: u64,
    pub(super) has_nodes: bool,
    pub(super) has_ways: bool,
}

/// A block of elements with what they share.
struct Block<'a> {
    strings: Vec<&'a [u8]>,
    groups: Vec<&'a [u8]>,
    granularity: i64,
    latitude_offset: i64,
    longitude_offset: i64,
}

impl<'a> Block<'a> {
    fn read(bytes: &'a [u8]) -> InBlock<Self> {
        let mut block = Self {
            strings: Vec::new(),
            groups: Vec::new(),
            granularity: 100,
            latitude_offset: 0,
            longitude_offset: 0,
        };
        let mut fields = Fields(bytes);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, Value::Bytes(table)) => block.strings = read_strings(table)?,
                (2, Value::Bytes(group)) => block.groups.push(group),
                (17, Value::Number(number)) => block.granularity = number as i64,
                (19, Value::Number(number)) => block.latitude_offset = number as i64,
                (20, Value::Number(number)) => block.longitude_offset = number as i64,
                _ => {}
            }
        }
        Ok(block)
    }

    fn visit<V: Visitor>(&self, visitor: &mut V, entry: &mut BlockEntry) -> InBlock<()> {
        for group in &self.groups {
            let mut fields = Fields(group);
            while let Some((number, value)) = fields.next()? {
                let Value::Bytes(message) = value else {
                    continue;
                };
                entry.has_nodes |= matches!(number, 1 | 2);
                entry.has_ways |= number == 3;
                match number {
                    1 if V::NODES => self.visit_node(message, visitor)?,
                    2 if V::NODES => self.visit_dense_nodes(message, visitor)?,
                    3 if V::WAYS => self.visit_way(message, visitor)?,
                    4 if V::RELATIONS => self.visit_relation(message, visitor)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn visit_node<V: Visitor>(&self, message: &[u8], visitor: &mut V) -> InBlock<()> {
        let element = Element::read(message)?;
        let tags = self.tags(element.keys, element.values)?;
        let point = self.point(signed(element.field_8), signed(element.field_9))?;
        // The id of a node is zigzag, those of ways and relations are not.
        visitor.node(signed(element.id), point, &tags);
        Ok(())
    }

    fn visit_dense_nodes<V: Visitor>(&self, message: &[u8], visitor: &mut V) -> InBlock<()> {
        let (mut ids, mut latitudes, mut longitudes) = (&[][..], &[][..], &[][..]);
        let mut keys_values = &[][..];
        let mut fields = Fields(message);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, Value::Bytes(packed)) => ids = packed,
                (8, Value::Bytes(packed)) => latitudes = packed,
                (9, Value::Bytes(packed)) => longitudes = packed,
                (10, Value::Bytes(packed)) => keys_values = packed,
                _ => {}
            }
        }
        let (mut id, mut latitude, mut longitude) = (0_i64, 0_i64, 0_i64);
        let mut tags = Tags::new();
        while !ids.is_empty() {
            id = id.wrapping_add(signed(varint(&mut ids)?));
            latitude = latitude.wrapping_add(signed(varint(&mut latitudes)?));
            longitude = longitude.wrapping_add(signed(varint(&mut longitudes)?));
            tags.clear();
            self.read_dense_tags(&mut keys_values, &mut tags)?;
            visitor.node(id, self.point(latitude, longitude)?, &tags);
        }
        Ok(())
    }

    /// Keys and values in turn, ended by 0; nothing at all where no node of the group has tags.
    fn read_dense_tags(&self, keys_values: &mut &'a [u8], tags: &mut Tags<'a>) -> InBlock<()> {
        while !keys_values.is_empty() {
            let key = varint(keys_values)?;
            if key == 0 {
                break;
            }
            tags.push((self.string(key)?, self.string(varint(keys_values)?)?));
        }
        Ok(())
    }

    fn visit_way<V: Visitor>(&self, message: &[u8], visitor: &mut V) -> InBlock<()> {
        let element = Element::read(message)?;
        let tags = self.tags(element.keys, element.values)?;
        visitor.way(&Way {
            id: element.id,
            tags: &tags,
            nodes: &deltas(element.bytes_8)?,
        });
        Ok(())
    }

    fn visit_relation<V: Visitor>(&self, message: &[u8], visitor: &mut V) -> InBlock<()> {
        let element = Element::read(message)?;
        let tags = self.tags(element.keys, element.values)?;
        let (mut roles, mut kinds) = (element.bytes_8, element.bytes_10);
        let mut members = Vec::new();
        for id in deltas(element.bytes_9)? {
            let role = if roles.is_empty() {
                ""
            } else {
                self.string(varint(&mut roles)?)?
            };
            match varint(&mut kinds)? {
                0 => members.push((Member::Node(id), role)),
                1 => members.push((Member::Way(id), role)),
                // A relation of relations is placed by what it has besides them.
                _ => {}
            }
        }
        visitor.relation(&Relation {
            id: element.id,
            tags: &tags,
            members: &members,
        });
        Ok(())
    }

    fn tags(&self, mut keys: &[u8], mut values: &[u8]) -> InBlock<Tags<'a>> {
        let mut tags = Tags::new();
        while !keys.is_empty() {
            let (key, value) = (varint(&mut keys)?, varint(&mut values)?);
            tags.push((self.string(key)?, self.string(value)?));
        }
        Ok(tags)
    }

    fn string(&self, number: u64) -> InBlock<&'a str> {
        let bytes = usize::try_from(number)
            .ok()
            .and_then(|number| self.strings.get(number))
            .ok_or("a text is not in its table")?;
        std::str::from_utf8(bytes).map_err(|_| "a text is not UTF-8")
    }

    /// A point in units of 1e-7 degree, of numbers whose unit is the granularity.
    fn point(&self, latitude: i64, longitude: i64) -> InBlock<Point> {
        let angle = |number: i64, offset: i64, max_e7: i64| {
            let nanodegrees = self.granularity.checked_mul(number)?.checked_add(offset)?;
            let angle_e7 = nanodegrees.checked_add(50)?.div_euclid(100);
            i32::try_from(angle_e7)
                .ok()
                .filter(|_| angle_e7.abs() <= max_e7)
        };
        angle(latitude, self.latitude_offset, 900_000_000)
            .zip(angle(longitude, self.longitude_offset, 1_800_000_000))
            .ok_or("a node is not on the earth")
    }
}

fn read_strings(table: &[u8]) -> InBlock<Vec<&[u8]>> {
    let mut strings = Vec::new();
    let mut fields = Fields(table);
    while let Some((number, value)) = fields.next()? {
        if let (1, Value::Bytes(text)) = (number, value) {
            strings.push(text);
        }
    }
    Ok(strings)
}

/// The fields of a node, way or relation, which differ in what 8, 9 and 10 mean.
#[derive(Default)]
struct Element<'a> {
    id: u64,
    keys: &'a [u8],
    values: &'a [u8],
    field_8: u64,
    field_9: u64,
    bytes_8: &'a [u8],
    bytes_9: &'a [u8],
    bytes_10: &'a [u8],
}

impl<'a> Element<'a> {
    fn read(message: &'a [u8]) -> InBlock<Self> {
        let mut element = Self::default();
        let mut fields = Fields(message);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, Value::Number(number)) => element.id = number,
                (2, Value::Bytes(packed)) => element.keys = packed,
                (3, Value::Bytes(packed)) => element.values = packed,
                (8, Value::Number(number)) => element.field_8 = number,
                (9, Value::Number(number)) => element.field_9 = number,
                (8, Value::Bytes(packed)) => element.bytes_8 = packed,
                (9, Value::Bytes(packed)) => element.bytes_9 = packed,
                (10, Value::Bytes(packed)) => element.bytes_10 = packed,
                _ => {}
            }
        }
        Ok(element)
    }
}

/// Numbers, each written as its difference from the one before.
fn deltas(mut packed: &[u8]) -> InBlock<Vec<i64>> {
    let mut numbers = Vec::new();
    let mut number = 0_i64;
    while !packed.is_empty() {
        number = number.wrapping_add(signed(varint(&mut packed)?));
        numbers.push(number);
    }
    Ok(numbers)
}
