//! Categories of other data sets to Google's types.
//!
//! Overture's are at <https://docs.overturemaps.org/guides/places/taxonomy/>, Foursquare's at
//! <https://docs.foursquare.com/data-products/docs/categories>. Both have thousands, most of them words that
//! say what they are (`vietnamese_restaurant`), so a word is looked up as it is, among those that
//! Google and OpenStreetMap have too, and at last by its ending.

use crate::osm;

/// What a category is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Category {
    /// Google's types, the most telling first.
    pub(super) types: Vec<String>,
    pub(super) weight: u16,
    pub(super) is_known: bool,
}

impl Category {
    /// Whether it is a town or a part of one, and so no establishment.
    pub(super) fn is_political(&self) -> bool {
        self.types.iter().any(|name| name == "political")
    }
}

/// What a place weighs of which nobody knows what it is.
const UNKNOWN_WEIGHT: u16 = 1500;

/// The category of words in any spelling, such as `Coffee Shop`, the most telling first.
///
/// The first that is known makes the types and the weight.
pub(super) fn category_of<'a>(words: impl IntoIterator<Item = &'a str>) -> Category {
    let known = words.into_iter().find_map(|word| kind_of(&normal(word)));
    let (own, weight) = known.unwrap_or((&[], UNKNOWN_WEIGHT));
    let is_political = matches!(
        own,
        ["locality" | "sublocality" | "neighborhood" | "country", ..]
    );
    let of_all: &[&str] = if is_political {
        &["political"]
    } else {
        &["point_of_interest", "establishment"]
    };
    Category {
        types: own
            .iter()
            .chain(of_all)
            .map(|name| (*name).to_owned())
            .collect(),
        weight,
        is_known: known.is_some(),
    }
}

/// In small letters and digits with one `_` between words.
fn normal(word: &str) -> String {
    let mut normal = String::with_capacity(word.len());
    for character in word.trim().chars().flat_map(char::to_lowercase) {
        if character.is_alphanumeric() {
            normal.push(character);
        } else if character != '\'' && character != '’' && !normal.ends_with('_') {
            normal.push('_');
        }
    }
    normal.trim_matches('_').to_owned()
}

fn kind_of(word: &str) -> Option<(&'static [&'static str], u16)> {
    if word.is_empty() {
        return None;
    }
    let by_name = |word: &str| {
        let other = OTHER_WORDS.iter().find(|(words, _)| words.contains(&word));
        osm::kind_of_word(other.map_or(word, |(_, meaning)| meaning))
    };
    by_name(word)
        .or_else(|| by_name(word.strip_suffix('s')?))
        .or_else(|| {
            let fits = |(ending, _): &&(&str, &str)| {
                let rest = word.strip_suffix(ending);
                rest.is_some_and(|rest| rest.ends_with('_'))
            };
            let (_, meaning) = ENDINGS.iter().find(fits)?;
            osm::kind_of_word(meaning)
        })
}

/// Words, and the word of Google or OpenStreetMap that means the same.
#[rustfmt::skip]
static OTHER_WORDS: &[(&[&str], &str)] = &[
    // To eat and drink.
    (&["eat_and_drink", "dining_and_drinking", "food", "food_and_drink", "diner", "steakhouse", "bistro", "brasserie", "gastropub", "buffet", "trattoria", "pizzeria", "pizza", "burger_joint", "noodle_house", "sushi"], "restaurant"),
    (&["coffee_shop", "cafe_coffee_and_tea_house", "coffee_roastery", "tea_room", "bubble_tea", "internet_cafe", "creperie", "donuts", "juice_bar", "smoothie_juice_bar"], "cafe"),
    (&["ice_cream_shop", "ice_cream_parlor", "frozen_yogurt_shop", "gelato_shop"], "ice_cream"),
    (&["beer_bar", "sports_bar", "cocktail_bar", "wine_bar", "beer_garden", "lounge", "hookah_bar", "brewery", "winery", "distillery", "irish_pub", "taproom", "speakeasy"], "bar"),
    (&["dance_club", "night_club", "nightlife", "strip_club", "disco", "karaoke"], "nightclub"),
    (&["fast_food_restaurant", "food_truck", "food_stand", "sandwich_shop", "sandwich_spot", "delicatessen", "snack_place", "hot_dog_joint"], "fast_food"),
    (&["bakery_and_dessert", "dessert_shop", "patisserie_cake_shop", "patisserie", "cupcake_shop", "candy_store", "chocolatier", "desserts"], "pastry"),
    // To sleep.
    (&["accommodation", "resort", "inn", "bed_and_breakfast", "lodge", "holiday_rental_home", "boarding_house", "vacation_rental", "cottage", "cabin", "service_apartments"], "guest_house"),
    (&["campground", "campsite"], "camp_site"),
    (&["rv_park", "rv_parks"], "caravan_site"),
    // To see and do.
    (&["art_museum", "history_museum", "science_museum", "childrens_museum", "contemporary_art_museum", "aviation_museum", "planetarium", "national_museum"], "museum"),
    (&["landmark_and_historical_building", "landmarks_and_outdoors", "historic_and_protected_site", "palace", "fountain", "bridge", "tower", "sculpture_statue", "public_art", "scenic_lookout", "lookout", "lighthouse", "attractions_and_activities", "topic_publisher_attraction", "landmark"], "attraction"),
    (&["monument", "memorial_park"], "monument"),
    (&["art_gallery", "gallery"], "gallery"),
    (&["theme_park", "amusement_park", "adventure_park", "attraction_park"], "theme_park"),
    (&["water_park"], "water_park"),
    (&["zoo_exhibit", "petting_zoo", "wildlife_sanctuary"], "zoo"),
    (&["theatre", "theater", "opera_and_ballet", "opera_house", "music_venue", "performing_arts", "performing_arts_venue", "concert_hall", "comedy_club", "rock_club", "auditorium", "topic_concert_venue"], "theatre"),
    (&["movie_theater", "cinema", "multiplex", "drive_in_theater"], "cinema"),
    (&["cultural_center"], "arts_centre"),
    (&["arcade", "video_arcade", "arcades", "escape_rooms", "escape_room", "laser_tag", "paintball", "miniature_golf", "go_kart_track"], "amusement_arcade"),
    (&["bowling"], "bowling_alley"),
    (&["stadium_arena", "stadium_and_arena", "arena", "baseball_stadium", "football_stadium", "soccer_stadium", "race_track"], "stadium"),
    (&["state_park", "national_park", "city_park", "urban_park", "botanical_garden", "picnic_ground"], "park"),
    (&["dog_park"], "dog_park"),
    (&["nature_preserve", "forest"], "nature_reserve"),
    (&["plaza", "pedestrian_plaza", "public_plaza"], "square"),
    (&["mountain", "hill", "volcano"], "peak"),
    (&["lake", "river", "reservoir", "pond", "canal"], "water"),
    (&["surf_spot"], "beach"),
    (&["gym_and_studio", "fitness_center", "gym_studio", "yoga_studio", "pilates_studio", "martial_arts_club", "martial_arts_dojo", "cycle_studio", "boxing_gym", "climbing_gym", "rock_climbing_gym", "sports_and_recreation_venue", "sports_club_and_league", "recreation_center", "tennis_court", "active_life"], "fitness_centre"),
    (&["pool", "swimming_pool"], "swimming_pool"),
    (&["skating_rink", "hockey_rink"], "ice_rink"),
    (&["golf_course", "golf_club", "golf_driving_range"], "golf_course"),
    (&["harbor", "boat_dock", "port", "pier", "harbor_marina"], "marina"),
    (&["event_venue", "wedding_hall", "event_space", "convention_center", "conference_room", "party_venue", "venue_and_event_space"], "events_venue"),
    (&["community_center", "senior_center", "community_services_non_profits", "social_service_organizations", "community_and_government", "social_club"], "community_centre"),
    // To travel.
    (&["airport", "international_airport", "airports", "airfield", "private_airport"], "aerodrome"),
    (&["airport_terminal"], "terminal"),
    (&["train_station", "rail_station", "metro_station", "light_rail_and_subway_stations", "light_rail_station", "subway_station", "rail_stop"], "station"),
    (&["bus_station", "bus_line"], "bus_station"),
    (&["bus_stop"], "bus_stop"),
    (&["ferry_service", "boat_or_ferry", "ferry_boat_company"], "ferry_terminal"),
    (&["tram_station"], "tram_stop"),
    (&["taxi_service", "taxi_stand", "taxi_rank"], "taxi"),
    (&["car_rental_agency", "rental_car_location"], "car_rental"),
    (&["gas_station", "fuel_station", "fuel_dock", "truck_gas_station", "petrol_station"], "fuel"),
    (&["ev_charging_station", "electric_vehicle_charging_station"], "charging_station"),
    (&["parking_lot", "parking_garage", "car_park", "garage_parking"], "parking"),
    (&["rest_areas", "rest_stop"], "rest_area"),
    // Places of learning, belief, state and health.
    (&["college_university", "college_and_university", "community_college", "law_school", "medical_school", "higher_education", "campus_building"], "university"),
    (&["elementary_school", "primary_school", "middle_school", "high_school", "primary_and_secondary_school", "private_school", "public_school", "education", "tutoring_center", "specialty_school", "preparatory_school"], "school"),
    (&["preschool", "day_care_preschool", "child_care_and_day_care", "daycare", "nursery_school"], "kindergarten"),
    (&["driving_school"], "driving_school"),
    (&["church", "church_cathedral", "cathedral", "chapel", "mosque", "synagogue", "temple", "hindu_temple", "buddhist_temple", "catholic_church", "baptist_church", "religious_organization", "spiritual_center", "shrine", "sikh_temple", "kingdom_hall", "monastery", "convent"], "place_of_worship"),
    (&["city_hall", "town_hall"], "townhall"),
    (&["government_building", "local_government", "federal_government_offices", "public_service_and_government", "government_department", "post_and_government"], "public_building"),
    (&["embassy_and_consulate", "embassies_consulates", "consulate"], "embassy"),
    (&["police_department", "police_station", "law_enforcement", "law_enforcement_and_public_safety"], "police"),
    (&["fire_department"], "fire_station"),
    (&["emergency_room", "medical_center", "childrens_hospital"], "hospital"),
    (&["doctor", "doctors_office", "physician", "family_practice", "health_and_medical", "urgent_care", "urgent_care_center", "urgent_care_clinic", "pediatrician", "cardiologist", "dermatologist", "optometrist", "chiropractor", "ophthalmologist", "psychologist", "psychiatrist", "counseling_and_mental_health", "mental_health_service", "medical_service_organizations", "diagnostic_services", "obstetrician_and_gynecologist", "public_health_clinic", "healthcare_clinic", "medical_clinic"], "doctors"),
    (&["dentists_office", "general_dentistry", "orthodontist", "cosmetic_dentist"], "dentist"),
    (&["physical_therapy", "physical_therapist", "physical_therapy_clinic"], "physiotherapist"),
    (&["chemists", "drugstore", "drug_store"], "pharmacy"),
    (&["veterinarian", "animal_hospital", "pet_hospital"], "veterinary"),
    (&["assisted_living", "retirement_home", "assisted_living_facility"], "nursing_home"),
    (&["cemeteries"], "cemetery"),
    // Money, post and other services.
    (&["banks", "bank_credit_union", "credit_union", "banking_and_finance"], "bank"),
    (&["atms"], "atm"),
    (&["currency_exchange", "check_cashing_payday_loans", "money_transfer_services", "financial_service", "financial_advising"], "bureau_de_change"),
    (&["shipping_center", "courier_and_delivery_services", "mailbox_center"], "post_office"),
    (&["flea_market", "farmers_market", "public_market", "night_market", "market"], "marketplace"),
    // Shops.
    (&["shopping_center", "shopping_plaza", "outlet_mall", "shopping_mall", "shopping_centre"], "mall"),
    (&["grocery_store", "supermarket", "grocery", "organic_grocery_store", "asian_grocery_store", "food_beverage_service_distribution"], "supermarket"),
    (&["convenience_store", "corner_shop", "bodega"], "convenience"),
    (&["liquor_store", "beer_wine_and_spirits", "wine_store", "beer_store", "wine_shop"], "alcohol"),
    (&["butcher_shop", "cheese_shop", "fish_market", "seafood_market", "fruit_and_vegetable_store", "gourmet_store", "specialty_grocery_store", "health_food_store", "health_market"], "butcher"),
    (&["clothing_store", "womens_clothing_store", "mens_clothing_store", "womens_store", "mens_store", "childrens_clothing_store", "fashion_accessories_store", "lingerie_store", "bridal_shop", "thrift_store", "used_vintage_and_consignment", "vintage_and_thrift_store", "fashion_retail"], "clothes"),
    (&["shoe_store"], "shoes"),
    (&["jewelry_store", "jewelry_and_watches_manufacturer"], "jewelry"),
    (&["bookstore", "used_bookstore", "comic_books_store", "book_store"], "books"),
    (&["electronics_store", "mobile_phone_store", "mobile_phone_accessories", "computer_store", "video_game_store", "electronics"], "electronics"),
    (&["furniture_store", "mattress_store", "furniture_and_home_store"], "furniture"),
    (&["home_goods_store", "kitchen_supply_store", "home_appliance_store", "home_decor", "appliance_store"], "houseware"),
    (&["hardware_store", "home_improvement_store", "building_supply_store", "paint_store", "lumber_store"], "hardware"),
    (&["flowers_and_gifts_shop", "flower_shop"], "florist"),
    (&["garden_center", "nursery_and_gardening"], "garden_centre"),
    (&["bicycle_shop", "bike_shop"], "bicycle"),
    (&["car_dealer", "car_dealership", "used_car_dealer", "automotive_dealer", "motorcycle_dealer", "used_car_dealership"], "car"),
    (&["automotive_repair", "auto_repair_shop", "automotive_repair_shop", "tire_dealer_and_repair", "tire_shop", "auto_body_shop", "automotive_service", "oil_change_station", "motorcycle_repair_shop", "auto_repair"], "car_repair"),
    (&["automotive_parts_and_accessories", "car_parts_and_accessories", "auto_parts_store"], "car_parts"),
    (&["car_wash_and_detail"], "car_wash"),
    (&["pet_supplies_store", "pet_store", "pet_groomer", "pet_services", "pet_grooming"], "pet"),
    (&["hair_salon", "barber", "barbershop", "hair_stylist", "barber_shop"], "hairdresser"),
    (&["beauty_salon", "beauty_and_spa", "nail_salon", "tanning_salon", "tattoo_parlor", "tattoo_and_piercing", "cosmetics_store", "cosmetic_and_beauty_supplies", "cosmetics", "skin_care_clinic", "massage_clinic", "massage_therapy"], "beauty"),
    (&["spas", "spa", "day_spa", "health_spa", "health_and_beauty_service", "bathhouse"], "sauna"),
    (&["eyewear_and_optician", "optical_shop", "eye_care_clinic", "eyewear_store"], "optician"),
    (&["laundromat", "dry_cleaner", "laundry_service", "laundry_services"], "laundry"),
    (&["travel_services", "tours", "travel_agency", "tour_provider", "travel_agents"], "travel_agency"),
    (&["real_estate", "real_estate_agent", "property_management", "apartments", "real_estate_agency", "real_estate_service"], "estate_agent"),
    (&["funeral_services_and_cemeteries", "funeral_home"], "funeral_directors"),
    (&["storage_facility", "self_storage_facility", "storage_units"], "storage_rental"),
    (&["shopping", "retail", "shop", "store", "sporting_goods", "sporting_goods_retail", "sporting_goods_shop", "toy_store", "gift_shop", "hobby_shop", "arts_and_crafts", "arts_and_crafts_store", "music_store", "antique_store", "office_supply_store", "discount_store", "miscellaneous_store", "department_and_variety_store", "stationery_store", "eyeglasses"], "gift"),
    // Services.
    (&["electrical_contractor"], "electrician"),
    (&["plumbing", "plumbing_service"], "plumber"),
    (&["painting", "painting_contractor"], "painter"),
    (&["key_and_locksmith", "locksmith_service"], "locksmith"),
    (&["roofing", "roofing_service"], "roofer"),
    (&["lawyer", "attorney", "law_firm", "legal_services", "legal_service", "notary_public"], "lawyer"),
    (&["accounting_and_bookkeeping_service", "tax_services", "accountant", "tax_service", "bookkeeping_service"], "accountant"),
    (&["insurance_agency", "insurance_office", "insurance_broker"], "insurance"),
];

/// Last words, and what they mean; the first that fits counts.
#[rustfmt::skip]
static ENDINGS: &[(&str, &str)] = &[
    ("restaurant", "restaurant"), ("steakhouse", "restaurant"), ("joint", "fast_food"), ("cafe", "cafe"), ("pub", "pub"),
    ("bar", "bar"), ("brewery", "bar"), ("bakery", "bakery"), ("hotel", "hotel"), ("motel", "motel"), ("hostel", "hostel"), ("museum", "museum"),
    ("gallery", "gallery"), ("theater", "theatre"), ("theatre", "theatre"), ("stadium", "stadium"), ("park", "park"), ("garden", "garden"),
    ("beach", "beach"), ("gym", "fitness_centre"), ("pool", "swimming_pool"), ("airport", "aerodrome"), ("station", "transit_station"),
    ("university", "university"), ("college", "university"), ("school", "school"), ("church", "place_of_worship"), ("temple", "place_of_worship"), ("mosque", "place_of_worship"),
    ("hospital", "hospital"), ("clinic", "clinic"), ("doctor", "doctors"), ("dentist", "dentist"), ("pharmacy", "pharmacy"), ("bank", "bank"),
    ("market", "marketplace"), ("mall", "mall"), ("dealer", "car"), ("dealership", "car"), ("salon", "beauty"), ("spa", "sauna"), ("lawyer", "lawyer"), ("law", "lawyer"), ("attorney", "lawyer"),
    ("store", "gift"), ("shop", "gift"), ("shops", "gift"), ("boutique", "clothes"), ("field", "pitch"), ("court", "pitch"), ("playground", "playground"),
    ("office", "company"), ("venue", "events_venue"), ("monument", "monument"), ("castle", "castle"), ("contractor", "plumber"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_of_the_tables_is_known() {
        let others = OTHER_WORDS.iter().map(|(_, meaning)| meaning);
        let endings = ENDINGS.iter().map(|(_, meaning)| meaning);
        for meaning in others.chain(endings) {
            assert!(osm::kind_of_word(meaning).is_some(), "{meaning}");
        }
    }

    #[test]
    fn each_word_stands_once_and_is_as_words_are_looked_up() {
        let mut words: Vec<_> = OTHER_WORDS.iter().flat_map(|(words, _)| *words).collect();
        for word in &words {
            assert_eq!(&normal(word), *word);
        }
        words.sort_unstable();
        let count = words.len();
        words.dedup();
        assert_eq!(words.len(), count);
    }

    #[test]
    fn categories_of_any_spelling_have_googles_types() {
        for (words, expected) in [
            (&["Vietnamese Restaurant"][..], "restaurant"),
            (&["coffee_shop"], "cafe"),
            (&["Children's Museum"], "museum"),
            (&["bars"], "bar"),
            (&["pub"], "bar"),
            (&["Doctor’s Office"], "doctor"),
            (&["no such thing", "hotel"], "lodging"),
            (&["City"], "locality"),
            (&["no such thing"], "point_of_interest"),
            (&["", " - "], "point_of_interest"),
            (&["bar"], "bar"),
            (&["museum"], "museum"),
            (&["gas_station"], "gas_station"),
        ] {
            let category = category_of(words.iter().copied());
            assert_eq!(category.types[0], expected, "{words:?}");
            assert_eq!(category.is_known, expected != "point_of_interest");
        }
    }
}
