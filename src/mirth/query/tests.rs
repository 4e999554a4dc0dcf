use proptest::prelude::*;

use super::*;

const SEARCH: [&str; 3] = ["metaDataSearch", "metaDataCaseInsensitiveSearch", COLUMN_ONLY];

#[track_caller]
fn check(raw: &str, expected: Result<&str, QueryFault>) {
    let query = Query::parse(raw);
    assert_eq!(query.as_ref().map(Query::as_str).map_err(|fault| *fault), expected, "{raw}");
}

#[test]
fn a_query_with_one_meaning_keeps_it() {
    for same in ["", "a", "a=", "=a", "a=1&b=2", "&&", "a==b", "textSearch=../../etc;a=b", "q=a+b%20c%26d%3D"]
    {
        check(same, Ok(same));
    }
    check("a=%61%2f%2D~", Ok("a=a%2F-~"));
    check("a=[1]|{2}\"<>^`\\", Ok("a=%5B1%5D%7C%7B2%7D%22%3C%3E%5E%60%5C"));
    check("name=M%c3%bcller", Ok("name=M%C3%BCller"));
}

#[test]
fn a_query_that_is_not_well_formed_is_refused() {
    use QueryFault::{BrokenEscape, Character, Control, NotUtf8};
    for raw in ["a=%", "a=%2", "a=%zz", "%u0041=1", "a=%-1"] {
        check(raw, Err(BrokenEscape));
    }
    for raw in ["a=%ff", "%c0%ae=1", "a=%ed%a0%80", "a=%C3"] {
        check(raw, Err(NotUtf8));
    }
    for raw in ["q=%0d%0aDELETE%20/", "a=%00", "%09=1", "a=%7F", "a=%C2%85", "a b", "a\t", "a\u{7f}"] {
        check(raw, Err(Control));
    }
    for raw in ["a#b", "a=\u{e9}"] {
        check(raw, Err(Character));
    }
}

#[test]
fn a_query_has_at_most_200_parameters() {
    let many = |count: usize| vec!["a=1"; count].join("&");
    check(&many(200), Ok(&many(200)));
    check(&many(201), Err(QueryFault::TooMany));
}

#[test]
fn no_query_names_another_method() {
    for raw in [
        "_method=DELETE",
        "a=1&_method=DELETE",
        "_METHOD=x",
        "%5fmethod",
        "_m%65thod=PUT",
        "+_method+=PUT",
        "a=1;_method=DELETE",
        "a;%5Fmethod",
        "a=b;c=d;_Method",
    ] {
        check(raw, Err(QueryFault::OtherMethod));
    }
    check("a=_method&my_method=1", Ok("a=_method&my_method=1"));
}

#[track_caller]
fn check_columns(raw: &str, expected: bool) {
    let query = Query::parse(raw).expect("is well-formed");
    assert_eq!(query.check_columns(&SEARCH).is_ok(), expected, "{raw}");
}

#[test]
fn a_search_of_columns_passes_with_names_of_columns() {
    for raw in [
        "limit=20&offset=0",
        "metaDataSearch=SOURCE+%3D+ADT",
        "metaDataSearch=SOURCE%20=%20A'%20OR%20'1'='1",
        "metaDataSearch=A+%3D+1&metaDataSearch=B_2+%3E%3D+2",
        "metaDataCaseInsensitiveSearch=TYPE+CONTAINS+x",
        "textSearchMetaDataColumn=SOURCE&textSearchMetaDataColumn=TYPE_2",
        "textSearch=metaDataSearch",
        "metaDataSearch=abcdefghijklmnopqrstuvwxyz0123+=+1",
    ] {
        check_columns(raw, true);
    }
}

#[test]
fn a_search_that_names_anything_but_a_column_is_refused() {
    for raw in [
        "metaDataSearch=",
        "metaDataSearch",
        "metaDataSearch=SOURCE",
        "metaDataSearch=+SOURCE+%3D+1",
        "metaDataSearch=SOURCE++%3D+1",
        "metaDataSearch=SOURCE%3D1+%3D+1",
        "metaDataSearch=1);DROP--+%3D+1",
        "metaDataSearch=%22SOURCE%22+%3D+1",
        "metaDataSearch=S%C3%96URCE+%3D+1",
        "metaDataSearch=SOURCE%C2%A0%3D+1",
        "metaDataSearch=abcdefghijklmnopqrstuvwxyz01234+=+1",
        "metaDataSearch=A+%3D+1&metaDataSearch=(select)+%3D+1",
        "metaDataCaseInsensitiveSearch=a.b+%3D+1",
        "m%65taDataSearch=x(y)+%3D+1",
        "METADATASEARCH=A+%3D+1",
        "+metaDataSearch=A+%3D+1",
        "textSearchMetaDataColumn=",
        "textSearchMetaDataColumn=SOURCE+%3D+1",
        "textSearchMetaDataColumn=SOURCE+",
        "textSearchMetaDataColumn=a-b",
        "textSearchMetadataColumn=SOURCE",
        "textSearch=a;metaDataSearch=A+%3D+1",
    ] {
        check_columns(raw, false);
    }
}

#[test]
fn a_page_takes_no_parameters_but_those_it_names() {
    let taken = |raw: &str| {
        Query::parse(raw).expect("is well-formed").check_names(&["getStats", "showLifetimeStats"]).is_ok()
    };
    assert!(taken("getStats&showLifetimeStats=true") && taken("") && taken("getStats"));
    for raw in ["class.classLoader=x", "getStats&x=1", "getstats", "&", "getStats;x", "getStats=1;class.x"] {
        assert!(!taken(raw), "{raw}");
    }
}

proptest! {
    #[test]
    fn the_canonical_spelling_is_a_fixed_point_of_the_same_meaning(
        raw in "([a-zA-Z0-9_=&;+%\\[\\]|~/?-]|%[0-9a-fA-F]{2}){0,24}"
    ) {
        if let Ok(query) = Query::parse(&raw) {
            let again = Query::parse(query.as_str());
            prop_assert_eq!(again.as_ref(), Ok(&query));
        }
    }

    #[test]
    fn no_text_makes_the_query_reader_panic(raw in any::<String>()) {
        let _ = Query::parse(&raw);
    }
}
