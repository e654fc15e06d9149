use super::*;

fn families() -> Vec<Family> {
    vec![
        Family::gauge("netlog_switch_connected", "Whether it is").is(1),
        Family::counter("netlog_events", "Events").is(7),
        Family::counter("netlog_events_suppressed", "Events refused")
            .with([("reason", "rate-limit".into())], 3)
            .with([("reason", "a\"b\\c\nd".into())], 4),
        Family::gauge("netlog_time_seconds", "A time").with_f64([], 1.5),
        Family::gauge("netlog_rate_limit", "Nothing to show"),
    ]
}

#[test]
fn both_formats() {
    let metrics = Metrics::new(families);
    metrics.answered(200);
    metrics.answered(404);
    metrics.answered(200);
    let (kind, page) = metrics.page(Some("application/openmetrics-text;version=1.0.0,*/*;q=0.1"));
    assert_eq!(kind, OPEN_METRICS);
    assert_eq!(
        page,
        "\
# HELP netlog_switch_connected Whether it is.
# TYPE netlog_switch_connected gauge
netlog_switch_connected 1.0
# HELP netlog_events Events.
# TYPE netlog_events counter
netlog_events_total 7.0
# HELP netlog_events_suppressed Events refused.
# TYPE netlog_events_suppressed counter
netlog_events_suppressed_total{reason=\"rate-limit\"} 3.0
netlog_events_suppressed_total{reason=\"a\\\"b\\\\c\\nd\"} 4.0
# HELP netlog_time_seconds A time.
# TYPE netlog_time_seconds gauge
netlog_time_seconds 1.5
# HELP netlog_rate_limit Nothing to show.
# TYPE netlog_rate_limit gauge
# HELP netlog_api_answers Answers of the API by HTTP status.
# TYPE netlog_api_answers counter
netlog_api_answers_total{code=\"200\"} 2.0
netlog_api_answers_total{code=\"404\"} 1.0
# EOF
"
    );

    let (kind, text) = metrics.page(Some("*/*"));
    assert_eq!(kind, PROMETHEUS);
    assert_eq!(metrics.page(None), (kind, text.clone()));
    for line in [
        "# HELP netlog_events_total Events.",
        "# TYPE netlog_events_total counter",
        "# TYPE netlog_switch_connected gauge",
        "netlog_events_total 7.0",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
    assert!(!text.contains("# EOF"));
    assert_eq!(text.lines().count() + 1, page.lines().count());
}

#[test]
fn names_are_those_of_series() {
    let names = Metrics::new(families).names();
    assert_eq!(
        names[..2],
        ["netlog_switch_connected", "netlog_events_total"]
    );
}
