//! Feature codes of GeoNames to Google's types: <https://www.geonames.org/export/codes.html>.

use super::super::categories::category_of;

/// What a feature code says.
#[derive(Debug)]
pub(super) struct Feature {
    /// Google's types, the most telling first.
    pub(super) types: Vec<String>,
    pub(super) weight: u16,
    pub(super) is_business: bool,
    /// Whether it weighs by its inhabitants.
    pub(super) is_town: bool,
    pub(super) is_known: bool,
}

/// `None` for what nobody looks for: roads, what is gone or was never there.
pub(super) fn feature(class: &str, code: &str) -> Option<Feature> {
    if is_gone(code) {
        return None;
    }
    match class {
        "P" if code == "PPLX" => Some(town("neighborhood")),
        "P" => Some(town("locality")),
        "A" => Some(division(code)),
        "T" | "H" | "V" | "U" => Some(nature(code)),
        "R" => None,
        _ => Some(establishment(code)),
    }
}

/// Historical (`PPLH`, `ADM1H`), abandoned (`AIRQ`), destroyed.
fn is_gone(code: &str) -> bool {
    let is_division = ["ADM", "PCL", "PPL"]
        .iter()
        .any(|start| code.starts_with(start));
    is_division && (code.ends_with('H') || matches!(code, "PPLQ" | "PPLW")) || GONE.contains(&code)
}

#[rustfmt::skip]
const GONE: &[&str] = &[
    "AIRQ", "CMPQ", "CNLQ", "DAMQ", "FRMQ", "MNQ", "MSSNQ", "OILQ", "PPQ", "PRNQ", "RGNH", "RSTNQ", "RSTPQ", "PSNQ", "LKNQ", "STMQ", "WLLQ", "SYSIQ", "AGRQ", "CTRQ",
];

fn owned(types: &[&str]) -> Vec<String> {
    types.iter().map(|name| (*name).to_owned()).collect()
}

fn town(kind: &str) -> Feature {
    Feature {
        types: owned(&[kind, "political"]),
        weight: 0,
        is_business: false,
        is_town: true,
        is_known: true,
    }
}

/// A country weighs as what it is and not by its inhabitants: they do not live at the point that stands for it.
fn division(code: &str) -> Feature {
    let (types, weight): (&[&str], _) = match code {
        "ADM1" => (&["administrative_area_level_1", "political"], 2600),
        "ADM2" => (&["administrative_area_level_2", "political"], 2400),
        "ADM3" => (&["administrative_area_level_3", "political"], 2200),
        "ADM4" => (&["administrative_area_level_4", "political"], 2000),
        "ADM5" => (&["administrative_area_level_5", "political"], 1800),
        _ if code.starts_with("PCL") => (&["country", "political"], 3000),
        _ => (&["political"], 1500),
    };
    Feature {
        types: owned(types),
        weight,
        is_business: false,
        is_town: false,
        is_known: true,
    }
}

fn nature(code: &str) -> Feature {
    let (types, weight): (&[&str], _) = match code {
        "BCH" | "BCHS" => (&["beach", "natural_feature"], 2900),
        "FLLS" => (&["natural_feature", "tourist_attraction"], 2600),
        "MT" | "PK" | "VLC" => (&["natural_feature"], 2600),
        "MTS" | "ISL" | "GLCR" | "CNYN" => (&["natural_feature"], 2400),
        "LK" | "BAY" | "CAPE" | "FRST" | "DSRT" => (&["natural_feature"], 2200),
        "STM" | "STMI" | "WAD" | "RVN" | "SWMP" | "MRSH" | "WLL" => (&["natural_feature"], 1500),
        _ => (&["natural_feature"], 1800),
    };
    let of_all = ["point_of_interest", "establishment"];
    Feature {
        types: owned(&[types, &of_all].concat()),
        weight,
        is_business: false,
        is_town: false,
        is_known: true,
    }
}

/// Spots, buildings and areas (classes S and L), by a word that means the same.
fn establishment(code: &str) -> Feature {
    if matches!(
        code,
        "RGN" | "RGNE" | "RGNL" | "AREA" | "CONT" | "LCTY" | "ZN" | "TRB"
    ) {
        return Feature {
            types: owned(&["colloquial_area", "political"]),
            weight: 1800,
            is_business: false,
            is_town: false,
            is_known: true,
        };
    }
    let word = WORDS.iter().find(|(codes, _)| codes.contains(&code));
    let category = category_of(word.map(|(_, word)| *word));
    Feature {
        types: category.types,
        weight: category.weight,
        is_business: true,
        is_town: false,
        is_known: category.is_known,
    }
}

#[rustfmt::skip]
static WORDS: &[(&[&str], &str)] = &[
    (&["HTL", "RSRT", "HSTL"], "hotel"), (&["GHSE", "INN", "LDGE", "RHSE"], "guest_house"), (&["HUT", "HUTS"], "alpine_hut"), (&["CMP", "CMPRF", "CMPL", "CMPO", "CMPMN", "CMPLA"], "camp_site"),
    (&["REST"], "restaurant"), (&["CAFE"], "cafe"), (&["BAR", "PUB"], "bar"), (&["BREW", "DIST"], "brewery"), (&["WINE"], "winery"),
    (&["MUS"], "museum"), (&["PLNT"], "planetarium"), (&["ZOO"], "zoo"), (&["AQRM"], "aquarium"), (&["AMUS", "AMTH"], "theme_park"), (&["GDN"], "garden"),
    (&["CSTL", "PAL", "FT"], "castle"), (&["MNMT", "OBLK"], "monument"), (&["HSTS", "ANS", "PYR", "PYRS", "STMB"], "archaeological_site"), (&["RUIN"], "ruins"), (&["ARCH", "TOWR", "BDG", "OBPT", "OBS", "LTHSE", "LIGHT", "CAVE", "TMB", "TRIG"], "viewpoint"),
    (&["AIRP", "AIRB", "AIRF"], "aerodrome"), (&["AIRT"], "terminal"), (&["AIRH"], "heliport"), (&["RSTN", "MTRO"], "station"), (&["RSTP"], "halt"), (&["BUSTN"], "bus_station"), (&["BUSTP"], "bus_stop"), (&["FY", "FYT", "LDNG"], "ferry_terminal"), (&["TRANT"], "transit_station"), (&["MAR", "PRT", "ANCH", "HBR"], "marina"), (&["PKLT", "GRGE"], "parking"), (&["GAS", "STNF"], "fuel"),
    (&["THTR", "OPRA"], "theatre"), (&["MOVT", "CINE"], "cinema"), (&["CSNO"], "casino"), (&["LIBR"], "library"), (&["CTRF", "CTRCM", "FCL"], "community_centre"), (&["CTRB"], "company"),
    (&["STDM", "RECG", "RECR", "RCTRK", "HPPD", "RACE"], "stadium"), (&["ATHF"], "pitch"), (&["PRK", "PRKHQ", "GRDN"], "park"), (&["RES", "RESN", "RESF", "RESW", "RESV", "RESA"], "nature_reserve"), (&["RECG", "GOLF"], "golf_course"), (&["SPA", "BTHS"], "sauna"), (&["POOL"], "swimming_pool"), (&["SQR"], "square"),
    (&["UNIV", "SCHC", "INSM", "ITTR"], "university"), (&["SCH", "SCHA", "SCHL", "SCHM", "SCHN", "SCHT", "SCHD"], "school"), (&["CH", "MSQE", "SYG", "TMPL", "SHRN", "PAGD", "CTRR", "MSSN"], "place_of_worship"), (&["CVNT", "MSTY"], "monastery"),
    (&["ADMF", "GOVL", "PO_ADM", "COURT"], "public_building"), (&["CTHSE"], "courthouse"), (&["DIP"], "embassy"), (&["PP", "PS_POLICE"], "police"), (&["FIRE", "SFIRE"], "fire_station"), (&["PRN"], "prison"), (&["CSTM", "PSTB", "PSTC"], "public_building"),
    (&["HSP", "HSPC", "HSPL"], "hospital"), (&["HSPD", "CTRM", "SNTR"], "clinic"), (&["VETF"], "veterinary"), (&["CMTY", "GRVE"], "cemetery"), (&["PHAR"], "pharmacy"),
    (&["BANK"], "bank"), (&["PO"], "post_office"), (&["MKT"], "marketplace"), (&["MALL"], "mall"), (&["RET", "SHOP", "BLDO_SHOP"], "gift"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feature_codes_have_googles_types() {
        for (class, code, expected) in [
            ("P", "PPL", Some("locality")),
            ("P", "PPLX", Some("neighborhood")),
            ("P", "PPLH", None),
            ("P", "PPLCH", None),
            ("P", "PPLQ", None),
            ("A", "ADM1", Some("administrative_area_level_1")),
            ("A", "ADM1H", None),
            ("A", "PCLI", Some("country")),
            ("T", "MT", Some("natural_feature")),
            ("H", "LK", Some("natural_feature")),
            ("L", "PRK", Some("park")),
            ("S", "HTL", Some("lodging")),
            ("S", "MUS", Some("museum")),
            ("S", "AIRP", Some("airport")),
            ("S", "AIRQ", None),
            ("S", "CH", Some("place_of_worship")),
            ("S", "XYZ", Some("point_of_interest")),
            ("R", "RD", None),
            ("", "", Some("point_of_interest")),
        ] {
            let found = feature(class, code);
            let first = found.as_ref().map(|feature| feature.types[0].as_str());
            assert_eq!(first, expected, "{class}.{code}");
        }
    }

    #[test]
    fn each_word_is_known() {
        for (codes, word) in WORDS {
            assert!(category_of([*word]).is_known, "{codes:?} {word}");
        }
    }
}
