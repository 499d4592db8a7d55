//! The client protocol, a sentence at a time: these bytes go in, and those come out.

use std::io::Write as _;
use std::thread;

use crate::herd::{
    Herd, PATIENCE, Server, Setup, check_matches, now_ns, now_text, shown, take_skew,
};

fn lonely() -> (Herd, Server) {
    let herd = Setup::lonely().start();
    let hill = herd.server("Hill");
    (herd, hill)
}

/// The answer to `input` matches `expected`, however the input is cut into segments.
fn check(hill: &Server, input: impl AsRef<[u8]>, expected: impl AsRef<[u8]>) {
    let (input, expected) = (input.as_ref(), expected.as_ref());
    let (front, back) = input.split_at(input.len() / 2);
    for pieces in [vec![input], input.chunks(1).collect(), vec![front, back]] {
        let mut client = hill.connect();
        client.send_pieces(pieces);
        client.half_close();
        check_matches(expected, &client.read_to_end(), &shown(input));
    }
}

/// These lines are refused, each as it came.
fn check_refused(hill: &Server, lines: &[&[u8]]) {
    for line in lines {
        let reply = [b"? ", *line, b"\n"].concat();
        check(hill, [*line, b"\n"].concat(), &reply);
        check(hill, [*line, b"\r\n"].concat(), &reply);
    }
}

#[test]
fn lf_and_crlf_both_end_a_line() {
    let (_herd, hill) = lonely();
    let at = "AT Hill <skew> a +34-118 5\n";
    check(&hill, "IAMAT a +34-118 5\n", at);
    check(&hill, "IAMAT a +34-118 5\r\n", at);
    check(&hill, "x\r\ny\nz\r\n", "? x\n? y\n? z\n");
}

#[test]
fn white_space_is_six_bytes_around_and_between_fields() {
    let (_herd, hill) = lonely();
    let at = "AT Hill <skew> a +34-118 5\n";
    for space in [" ", "\t", "\r", "\x0b", "\x0c", " \t\r\x0b\x0c "] {
        let line = ["", "IAMAT", "a", "+34-118", "5", ""].join(space);
        check(&hill, line + "\n", at);
    }
    // No white space: NUL, FS, NEL, the no-break space. They are bytes of an ID.
    for id in [
        &b"\0"[..],
        b"\x1c",
        b"\xc2\x85",
        b"\xc2\xa0",
        b"\x85",
        b"a\0b\x1f",
    ] {
        let line = [b"IAMAT ", id, b" +34-118 5\n"].concat();
        check(
            &hill,
            line,
            [b"AT Hill <skew> ", id, b" +34-118 5\n"].concat(),
        );
    }
}

#[test]
fn an_id_is_any_bytes_and_comes_back_byte_for_byte() {
    let (_herd, hill) = lonely();
    let every_byte: Vec<u8> = (1..=255)
        .filter(|byte| !b" \t\r\n\x0b\x0c".contains(byte))
        .collect();
    assert_eq!(every_byte.len(), 249);
    for id in [
        &every_byte,
        &b"\0"[..],
        b"\xff\xfe",
        "клиент".as_bytes(),
        b"\xed\xa0\x80",
        b"\x1b[31m",
    ] {
        let at = [b"AT Hill <skew> ", id, b" +34-118 5\n"].concat();
        check(&hill, [b"IAMAT ", id, b" +34-118 5\n"].concat(), &at);
        let question = [b"WHATSAT ", id, b" 0 0\n"].concat();
        check(&hill, question, [&at, &b"<places>"[..]].concat());
    }
}

#[test]
fn an_id_has_at_most_255_bytes() {
    let (_herd, hill) = lonely();
    let (longest, too_long) = ("i".repeat(255), "i".repeat(256));
    check(
        &hill,
        format!("IAMAT {longest} +34-118 5\nWHATSAT {longest} 0 0\n"),
        format!("AT Hill <skew> {longest} +34-118 5\n").repeat(2) + "<places>",
    );
    let lines = [
        format!("IAMAT {too_long} +34-118 5"),
        format!("WHATSAT {too_long} 0 0"),
    ];
    check_refused(&hill, &[lines[0].as_bytes(), lines[1].as_bytes()]);
}

#[test]
fn a_last_line_without_a_terminator_is_answered_at_the_half_close() {
    let (_herd, hill) = lonely();
    check(&hill, "IAMAT a +34-118 5", "AT Hill <skew> a +34-118 5\n");
    check(
        &hill,
        "x\nWHATSAT nobody 1 1",
        "? x\n? WHATSAT nobody 1 1\n",
    );
    check(&hill, "nonsense", "? nonsense\n");
}

#[test]
fn a_connection_without_a_byte_gets_no_reply() {
    let (_herd, hill) = lonely();
    check(&hill, "", "");
}

#[test]
fn a_client_that_half_closes_and_reads_once_has_its_reply() {
    let (_herd, hill) = lonely();
    hill.iamat("a", "+34.068930-118.445127", "5");
    for (input, expected) in [
        ("IAMAT b +34-118 5", "AT Hill <skew> b +34-118 5\n"),
        (
            "WHATSAT a 10 5\n",
            "AT Hill <skew> a +34.068930-118.445127 5\n<places>",
        ),
        (
            "WHATSAT a 50 20\n",
            "AT Hill <skew> a +34.068930-118.445127 5\n<places>",
        ),
        ("WHATSAT nobody 1 1\n", "? WHATSAT nobody 1 1\n"),
    ] {
        let mut client = hill.connect();
        client.send(input.as_bytes());
        client.half_close();
        check_matches(expected.as_bytes(), &client.read_once(), input);
    }
}

#[test]
fn every_reply_can_be_read_with_one_read_while_the_connection_stays() {
    let (_herd, hill) = lonely();
    let mut client = hill.connect();
    client.send(b"IAMAT a +34.068930-118.445127 5\n");
    check_matches(
        b"AT Hill <skew> a +34.068930-118.445127 5\n",
        &client.read_once(),
        "IAMAT",
    );
    for _ in 0..50 {
        client.send(b"WHATSAT a 50 20\n");
        let expected = b"AT Hill <skew> a +34.068930-118.445127 5\n<places>";
        check_matches(expected, &client.read_once(), "WHATSAT");
    }
}

#[test]
fn eleven_commands_in_a_burst_have_eleven_replies_in_their_order() {
    let (_herd, hill) = lonely();
    let burst = "IAMAT a +1-1 1\nWHATSAT a 10 1\nx\nIAMAT b +2-2 2\r\nIAMAT a +3-3 3\n\
                 WHATSAT a 0 20\n\nWHATSAT nobody 1 1\nWHATSAT b 1 0\nIAMAT a +4-4\nIAMAT c +5-5 5";
    let replies = "AT Hill <skew> a +1-1 1\nAT Hill <skew> a +1-1 1\n<places>? x\n\
                   AT Hill <skew> b +2-2 2\nAT Hill <skew> a +3-3 3\n\
                   AT Hill <skew> a +3-3 3\n<places>? \n? WHATSAT nobody 1 1\n\
                   AT Hill <skew> b +2-2 2\n<places>? IAMAT a +4-4\nAT Hill <skew> c +5-5 5\n";
    check_matches(replies.as_bytes(), &hill.talk(burst.as_bytes()), burst);
}

#[test]
fn a_client_that_sends_iamat_and_then_whatsat_sees_its_own_update() {
    let (_herd, hill) = lonely();
    let mut client = hill.connect();
    for number in 1..200 {
        let line = format!("IAMAT a +34-118 {number}\nWHATSAT a 50 {}\n", number % 21);
        client.send(line.as_bytes());
        let at = client.read_line();
        let pattern = format!("AT Hill <skew> a +34-118 {number}\n");
        check_matches(pattern.as_bytes(), &at, &line);
        let answer = client.read_places();
        check_matches(&[&at, &b"<places>"[..]].concat(), &answer, &line);
    }
}

#[test]
fn a_line_over_the_limit_is_answered_with_its_first_bytes_and_the_connection_lives_on() {
    let (_herd, hill) = lonely();
    let (longest, too_long) = ("x".repeat(8192), "x".repeat(8193));
    let reply = format!("? {longest}\n");
    for line in [&longest, &too_long, &"x".repeat(100_000)] {
        for end in ["\n", "\r\n", ""] {
            // Byte by byte, this much takes long.
            let mut client = hill.connect();
            client.send(format!("{line}{end}").as_bytes());
            client.half_close();
            check_matches(
                reply.as_bytes(),
                &client.read_to_end(),
                &format!("{}{end:?}", line.len()),
            );
        }
    }
    let mut client = hill.connect();
    client.send(too_long.as_bytes());
    assert_eq!(client.read_line(), reply.as_bytes(), "told before its end");
    client.send(&vec![b'y'; 1_000_000]);
    client.send(b"\nIAMAT a +34-118 5\n");
    check_matches(
        b"AT Hill <skew> a +34-118 5\n",
        &client.read_line(),
        "the line after it",
    );
}

#[test]
fn a_valid_command_over_the_limit_is_refused_and_has_no_effect() {
    let (_herd, hill) = lonely();
    let padding = " ".repeat(8192);
    check(
        &hill,
        format!("IAMAT a +34-118 5{padding}\nWHATSAT a 1 1\n"),
        {
            let first = &format!("IAMAT a +34-118 5{padding}")[..8192];
            format!("? {first}\n? WHATSAT a 1 1\n")
        },
    );
}

#[test]
fn valid_positions_and_times_are_copied_byte_for_byte() {
    let (_herd, hill) = lonely();
    for position in [
        "+34.068930-118.445127",
        "+34-118",
        "+34.0-118.0",
        "+34.0-118",
        "-34+118.5",
        "+0+0",
        "-0-0",
        "+90+180",
        "-90-180",
        "+90.000000-180.000000",
        "+00034.5-000118.25",
        "+1.123456789012345678901234567890-1.5",
    ] {
        for time in [
            "1621464827.959498503",
            "0",
            "5",
            "0.5",
            "1700000000.1234567891234",
        ] {
            let operands = format!("a {position} {time}");
            let line = format!("IAMAT {operands}\n");
            let reply = hill.talk(line.as_bytes());
            check_matches(
                format!("AT Hill <skew> {operands}\n").as_bytes(),
                &reply,
                &line,
            );
        }
    }
}

#[test]
fn an_at_line_has_the_receive_time_minus_the_clients_time() {
    let (_herd, hill) = lonely();
    let second = 1_000_000_000;
    let now = now_ns();
    for time_ns in [
        0,
        1,
        1_621_464_827_959_498_503,
        now - 1,
        now,
        now + second,
        now + 3600 * second,
    ] {
        let time = format!("{}.{:09}", time_ns / second, time_ns % second);
        let before = now_ns();
        let reply = hill.iamat("a", "+34-118", &time);
        let after = now_ns();
        let (skew, _) = take_skew(&reply[b"AT Hill ".len()..]).expect("a difference");
        let bounds = before - time_ns..=after - time_ns;
        assert!(
            bounds.contains(&skew),
            "{} is not in {bounds:?}",
            shown(&reply)
        );
    }
}

#[test]
fn whatever_is_no_command_is_refused() {
    let (_herd, hill) = lonely();
    hill.iamat("a", "+34-118", "5");
    check_refused(
        &hill,
        &[
            b"",
            b" ",
            b"\t \x0b\x0c ",
            b"WHOIS kiwi.cs.ucla.edu",
            b" WHOIS  kiwi ",
            b"IAMAT",
            b"WHATSAT",
            b"IAMAT a +34-118",
            b"IAMAT a +34-118 5 6",
            b"IAMAT a +34 -118 5",
            b"WHATSAT a 10",
            b"WHATSAT a 10 5 5",
            b"WHATSAT nobody 10 5",
            b"WHATSAT A 10 5",
            b"iamat a +34-118 5",
            b"Iamat a +34-118 5",
            b"whatsat a 10 5",
            b"IAMAT\0a +34-118 5",
            b"AT Hill +0.5 a +34-118 6",
            b"AT Hill +0.5 a +34-118 6 Hill Smith",
            b"\xff\xfe\x00\x01",
            b"GET / HTTP/1.1",
        ],
    );
    let at = hill.whatsat("a").expect("it is known");
    check_matches(
        b"AT Hill <skew> a +34-118 5\n",
        &at,
        "nothing of that had an effect",
    );
}

#[test]
fn a_bad_position_is_refused() {
    let (_herd, hill) = lonely();
    for position in [
        "34.0-118.0",
        "+34.0118.0",
        "+34.",
        "+34.0",
        "+34.-118",
        "+.5-118",
        "+34-.5",
        "+34-118.",
        "++34-118",
        "+-34-118",
        "+34,0-118,0",
        "+34.0,-118.0",
        "+3e1-118",
        "+34.0N-118.0W",
        "+34N118W",
        "+90.0000001-118",
        "-90.1+0",
        "+34+180.0000001",
        "+34-181",
        "+91+0",
        "+340-118",
        "+nan-118",
        "+inf-inf",
        "+34-118/",
        "+34-118+10",
        "+1_0-118",
        "+34.0.0-118",
        "+34-118-5",
        "+0x1-1",
        "+",
        "+-",
        "\u{ff0b}34-118",
        "+\u{0663}4-118",
        "+34\u{2212}118",
    ] {
        check_refused(&hill, &[format!("IAMAT a {position} 5").as_bytes()]);
    }
    assert_eq!(hill.whatsat("a"), None);
}

#[test]
fn a_bad_time_is_refused() {
    let (_herd, hill) = lonely();
    for time in [
        "-5", "+5", "5.", ".5", "1e9", "1E9", "nan", "NaN", "inf", "infinity", "1_000", "1,5",
        "0x5", "5s", "1.5.5", "--5", "-0", "\u{0665}",
    ] {
        check_refused(&hill, &[format!("IAMAT a +34-118 {time}").as_bytes()]);
    }
    assert_eq!(hill.whatsat("a"), None);
}

#[test]
fn a_radius_goes_from_0_to_50_and_a_bound_from_0_to_20() {
    let (_herd, hill) = lonely();
    let at = "AT Hill <skew> a +34.068930-118.445127 5\n<places>";
    check(
        &hill,
        "IAMAT a +34.068930-118.445127 5\n",
        &at[..at.len() - "<places>".len()],
    );
    for operands in [
        "0 0",
        "0 20",
        "50 0",
        "50 20",
        "10 5",
        "50.0 1",
        "50.000000000 1",
        "0.0 1",
        "0.5 1",
        "49.9999999999 20",
        "12.25 7",
        "010 05",
    ] {
        check(&hill, format!("WHATSAT a {operands}\n"), at);
    }
    for operands in [
        "50.1 5",
        "50.0000000001 5",
        "51 5",
        "500 5",
        "-1 5",
        "+5 5",
        "1e1 5",
        ".5 5",
        "5. 5",
        "nan 5",
        "inf 5",
        "5km 5",
        "1_0 5",
        "10 21",
        "10 -1",
        "10 +5",
        "10 5.0",
        "10 5.",
        "10 1e1",
        "10 five",
        "10 100",
        "10 18446744073709551617",
        "99999999999999999999 5",
        "18446744073709551617 5",
        "4294967296 5",
        "10 4294967296",
    ] {
        check_refused(&hill, &[format!("WHATSAT a {operands}").as_bytes()]);
    }
}

/// The places of an answer: how many, and the distance of the farthest in kilometres.
fn places(hill: &Server, radius: &str, bound: usize) -> (usize, f64) {
    let reply = hill.talk(format!("WHATSAT a {radius} {bound}\n").as_bytes());
    let start = reply
        .iter()
        .position(|byte| *byte == b'\n')
        .expect("an AT line");
    let document: serde_json::Value = serde_json::from_slice(&reply[start..]).expect("JSON");
    let results = document["results"].as_array().expect("results");
    let distances = results.iter().map(|place| {
        let location = &place["geometry"]["location"];
        let degrees = |key: &str| location[key].as_f64().expect("degrees").to_radians();
        distance_km(degrees("lat"), degrees("lng"))
    });
    (results.len(), distances.fold(0.0, f64::max))
}

/// From +34.068930-118.445127, over a sphere.
fn distance_km(latitude: f64, longitude: f64) -> f64 {
    let (here, there) = (34.068930_f64.to_radians(), latitude);
    let across = (longitude - (-118.445127_f64).to_radians()) / 2.0;
    let up = (there - here) / 2.0;
    let chord = up.sin().powi(2) + here.cos() * there.cos() * across.sin().powi(2);
    2.0 * 6371.0 * chord.sqrt().asin()
}

#[test]
fn there_are_as_many_places_as_asked_and_none_beyond_the_radius() {
    let (_herd, hill) = lonely();
    hill.iamat("a", "+34.068930-118.445127", "5");
    for (radius, bound, expected_count) in [
        ("10", 5, 5),
        ("50", 20, 20),
        ("10", 1, 1),
        ("0", 20, 0),
        ("50", 0, 0),
    ] {
        let (count, farthest_km) = places(&hill, radius, bound);
        assert_eq!(count, expected_count, "{radius} {bound}");
        let radius_km: f64 = radius.parse().expect("a number");
        // The earth is no sphere, and sources round.
        assert!(farthest_km <= radius_km * 1.01, "{farthest_km} > {radius}");
    }
}

#[test]
fn an_older_report_is_answered_and_does_not_replace_the_newer_one() {
    let (_herd, hill) = lonely();
    let newer = hill.iamat("a", "+34-118", "100.5");
    for time in ["100.499999999", "50", "0"] {
        hill.iamat("a", "+1-1", time);
        assert_eq!(hill.whatsat("a"), Some(newer.clone()), "{time}");
    }
    let newest = hill.iamat("a", "+2-2", "100.500000001");
    assert_eq!(hill.whatsat("a"), Some(newest));
}

#[test]
fn digits_beyond_the_ninth_are_ignored_in_order() {
    let (_herd, hill) = lonely();
    hill.iamat("a", "+1-1", "5.0000000009");
    let later = hill.iamat("a", "+2-2", "5.0000000001");
    // To the nanosecond both are one time, and of those at one server the later one is the newer.
    assert_eq!(hill.whatsat("a"), Some(later));
}

#[test]
fn a_clock_that_is_years_ahead_blocks_its_client_for_seconds_only() {
    let (_herd, hill) = lonely();
    let far = hill.iamat("a", "+1-1", "99999999999");
    assert_eq!(hill.whatsat("a"), Some(far.clone()));
    hill.iamat("a", "+2-2", &now_text());
    assert_eq!(hill.whatsat("a"), Some(far), "still ahead");
    let nearer = hill.iamat("a", "+3-3", "9999999999");
    assert_eq!(
        hill.whatsat("a"),
        Some(nearer),
        "heard later, and both are ordered by that"
    );
}

#[test]
fn nothing_is_written_before_a_client_speaks() {
    let (_herd, hill) = lonely();
    let mut silent = hill.connect();
    // Long enough for a banner: others have had their answers meanwhile.
    for _ in 0..20 {
        hill.iamat("a", "+34-118", "5");
    }
    silent.half_close();
    assert_eq!(silent.read_to_end(), b"");
}

#[test]
fn a_command_may_come_in_any_two_pieces() {
    let (_herd, hill) = lonely();
    let mut client = hill.connect();
    let line = b"IAMAT a +34.5-118.25 5.5\r\n";
    for cut in 1..line.len() {
        let (front, back) = line.split_at(cut);
        client.send(front);
        // The server has surely read the first piece when it has answered somebody else.
        hill.iamat("b", "+1-1", "1");
        client.send(back);
        check_matches(
            b"AT Hill <skew> a +34.5-118.25 5.5\n",
            &client.read_line(),
            &format!("{cut}"),
        );
    }
}

#[test]
fn a_connection_may_be_used_for_commands_one_after_the_other() {
    let (_herd, hill) = lonely();
    let mut client = hill.connect();
    for number in 0..500 {
        client.send(format!("IAMAT a +34-118 {number}\nx{number}\n").as_bytes());
        let at = format!("AT Hill <skew> a +34-118 {number}\n");
        check_matches(at.as_bytes(), &client.read_line(), "IAMAT");
        assert_eq!(client.read_line(), format!("? x{number}\n").as_bytes());
    }
}

/// How many lines go through one connection in the great test.
const LINES_COUNT: usize = if cfg!(debug_assertions) {
    200_000
} else {
    1_000_000
};
const CLIENTS_COUNT: usize = 20_000;

fn operands(number: usize) -> String {
    let (client, minute) = (number % CLIENTS_COUNT, number / CLIENTS_COUNT);
    format!(
        "client{client} +34.{:06}-118.445127 {}.25",
        client * 7,
        1_621_464_827 + minute
    )
}

#[test]
fn a_million_lines_through_one_pipelined_connection_have_their_replies() {
    let herd = Setup::five().start();
    let hill = herd.server("Hill");
    let mut client = hill.connect();
    let mut stream = client.stream();
    let writer = thread::spawn(move || {
        let mut chunk = String::new();
        for number in 0..LINES_COUNT {
            chunk += &format!("IAMAT {}\n", operands(number));
            if chunk.len() >= 60_000 || number + 1 == LINES_COUNT {
                stream
                    .write_all(chunk.as_bytes())
                    .expect("the server reads");
                chunk.clear();
            }
        }
        stream
            .shutdown(std::net::Shutdown::Write)
            .expect("a socket");
    });
    check_replies(&mut client);
    writer.join().expect("all is sent");
    herd.wait_until_equal(
        &["Hill", "Jaquez", "Smith", "Campbell", "Singleton"],
        CLIENTS_COUNT as u64,
    );
    for server in herd.servers() {
        let log = server.log();
        let lost = log.lines().find(|line| line.contains(" link.down "));
        assert_eq!(lost, None, "a busy link of {} is no dead one", server.name);
    }
    let last = operands(LINES_COUNT - 1);
    let last_at = format!("AT Hill <skew> {last}\n");
    let id = last.split(' ').next().expect("an ID");
    let told = herd.server("Campbell").whatsat(id).expect("it is known");
    check_matches(last_at.as_bytes(), &told, "the last one");
}

/// Reads all replies in large pieces, and looks at every one.
fn check_replies(client: &mut crate::herd::Client) {
    use std::io::{BufRead as _, BufReader};
    let stream = client.stream();
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut reader = BufReader::with_capacity(1 << 18, stream);
    let mut line = Vec::new();
    for number in 0..LINES_COUNT {
        line.clear();
        reader.read_until(b'\n', &mut line).expect("a reply");
        let operands = operands(number);
        let rest = line.strip_prefix(b"AT Hill ").and_then(take_skew);
        let is_right = rest.is_some_and(|(_, rest)| {
            rest.len() == operands.len() + 2 && rest[1..].starts_with(operands.as_bytes())
        });
        assert!(is_right, "{number}: {} for {operands}", shown(&line));
    }
    line.clear();
    let count = reader.read_until(b'\n', &mut line).expect("the end");
    assert_eq!(count, 0, "too much: {}", shown(&line));
}
