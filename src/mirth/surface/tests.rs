use super::*;

fn found(method: &str, path: &str) -> Option<&'static str> {
    let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    page(method, &segments, path.ends_with('/')).map(|page| page.template)
}

#[test]
fn the_pages_that_clients_fetch_are_found() {
    for (path, template) in [
        ("/", "/"),
        ("/favicon.ico", "/favicon.ico"),
        ("/css/bootstrap/main.css", "/css/**"),
        ("/webadmin", "/webadmin"),
        ("/webadmin/", "/webadmin"),
        ("/webadmin/js/jquery.tablesorter.widgets.min.js", "/webadmin/js/**"),
        ("/webstart", "/webstart"),
        ("/webstart.jnlp", "/webstart.jnlp"),
        ("/webstart/client-lib/mirth-client.jar", "/webstart/client-lib/*"),
        ("/webstart/extensions/dicomviewer.jnlp", "/webstart/extensions/*.jnlp"),
        ("/webstart/extensions/libs/file/file-shared.jar", "/webstart/extensions/libs/**.jar"),
        ("/launcher/windows-x64.exe", "/launcher/windows-x64.exe"),
        ("/javadocs/com/mirth/package-summary.html", "/javadocs/**"),
        ("/api/", "/api"),
        ("/api/index.html", "/api/index.html"),
        ("/api/lib/swagger-ui.js", "/api/lib/**"),
        ("/apiexamples/channel_xml", "/apiexamples/**"),
    ] {
        assert_eq!(found("GET", path), Some(template), "{path}");
        assert_eq!(found("HEAD", path), Some(template), "{path}");
        assert_eq!(found("POST", path), None, "{path}");
    }
}

#[test]
fn of_the_dashboard_four_actions_are_served_each_by_its_own_methods() {
    for (path, get, post) in [
        ("/webadmin/Index.action", true, true),
        ("/webadmin/Login.action", false, true),
        ("/webadmin/DashboardStatistics.action", true, false),
        ("/webadmin/Logout.action", true, false),
        ("/webadmin/Admin.action", false, false),
        ("/webadmin/js/Login.action", false, false),
    ] {
        assert_eq!(found("GET", path).is_some(), get, "{path}");
        assert_eq!(found("POST", path).is_some(), post, "{path}");
        assert_eq!(found("HEAD", path).is_some(), get, "HEAD is as GET: {path}");
    }
    let login = page("POST", &["webadmin", "Login.action"], false).expect("is served");
    assert!(login.reaches_api() && login.body == BodyKind::WebLogin);
    assert!(!page("GET", &["webadmin"], false).is_some_and(Page::reaches_api));
}

#[test]
fn nothing_but_known_files_is_served_not_even_the_list_of_a_folder() {
    for path in [
        "/css/",
        "/css",
        "/css/.htaccess.css",
        "/css/a..",
        "/css/x%20y.css",
        "/index.html/",
        "/index.jsp",
        "/webadmin/WEB-INF/web.xml",
        "/webadmin/js/x.jsp",
        "/webadmin/index.jsp",
        "/webadmin/js/.x.js",
        "/webstart/client-lib/",
        "/webstart/client-lib/a/b.jar",
        "/webstart/client-lib/x.xml",
        "/webstart/extensions/",
        "/webstart/extensions/x.jar",
        "/webstart/extensions/libs/",
        "/webstart/extensions/libs/file/plugin.xml",
        "/webstart/extensions/libs/file/x.jar/",
        "/webstart/extensions/libs/file/x.JAR",
        "/webstart/extensions/libs/file/x.jar%20",
        "/webstart.jnlp/",
        "/launcher/",
        "/launcher/other.exe",
        "/javadocs/",
        "/javadocs",
        "/api/conf/mirth.properties",
        "/api/index.jsp",
        "/apiexamples/",
        "/other/index.html",
        "/WEBADMIN",
        "/conf/mirth.properties",
    ] {
        assert_eq!(found("GET", path), None, "{path}");
    }
}

/// What a browser asks for when it opens the landing page, signs in (wrongly, then rightly) and looks at the
/// dashboard: every address in the pages, scripts and styles of 4.5.2.
const ASKED_BY_PAGES: [&str; 42] = [
    "/",
    "/images/NG_MC_Icon_16x16.png",
    "/css/bootstrap.css",
    "/css/main.css",
    "/css/images/selected-section.png",
    "/css/images/stock.jpg",
    "/bootstrap/img/glyphicons-halflings.png",
    "/bootstrap/img/glyphicons-halflings-white.png",
    "/js/jquery-3.5.1.min.js",
    "/images/MirthConnect_Logo_WordMark_Big.png",
    "/images/NG_MC_Icon_128x128.png",
    "/webstart.jnlp",
    "/webadmin",
    "/webadmin/",
    "/webadmin/index.html",
    "/webadmin/Index.action",
    "/webadmin/DashboardStatistics.action",
    "/webadmin/Logout.action",
    "/webadmin/images/NG_MC_Icon_16x16.png",
    "/webadmin/images/MirthConnect_Logo_WordMark_white.png",
    "/webadmin/images/favicon.ico",
    "/webadmin/images/glyphicons_003_user.png",
    "/webadmin/images/elbow-end-plus.gif",
    "/webadmin/images/ludo-jquery-treetable/toggle-expand-dark.png",
    "/webadmin/images/ludo-jquery-treetable/toggle-collapse-light.png",
    "/webadmin/css/bootstrap.css",
    "/webadmin/css/statistics.css",
    "/webadmin/css/jquery.treeTable.css",
    "/webadmin/css/TreeGrid.css",
    "/webadmin/css/glyphicons-halflings.png",
    "/webadmin/css/images/stock.jpg",
    "/webadmin/fonts/glyphicons-halflings-regular.eot",
    "/webadmin/fonts/glyphicons-halflings-regular.svg",
    "/webadmin/fonts/glyphicons-halflings-regular.ttf",
    "/webadmin/fonts/glyphicons-halflings-regular.woff",
    "/webadmin/fonts/glyphicons-halflings-regular.woff2",
    "/webadmin/js/jquery-3.5.1.min.js",
    "/webadmin/js/bootstrap.min.js",
    "/webadmin/js/jquery.treeTable.js",
    "/webadmin/js/persist-min.js",
    "/webadmin/js/jquery.tablesorter.widgets.min.js",
    "/launcher/linux.sh",
];

#[test]
fn whatever_the_real_pages_ask_a_browser_for_is_served_with_its_body_or_without() {
    for path in ASKED_BY_PAGES {
        for method in ["GET", "HEAD"] {
            assert!(found(method, path).is_some(), "{method} {path}");
        }
    }
}

#[test]
fn a_font_is_no_way_out_of_its_folder() {
    for path in [
        "/webadmin/fonts",
        "/webadmin/fonts/",
        "/webadmin/fonts/x.jsp",
        "/webadmin/fonts/x.woff/",
        "/webadmin/fonts/.x.woff",
        "/webadmin/fonts/%2e%2e/x.woff",
        "/webadmin/fonts/x.xml",
        "/webadmin/index.jsp",
        "/bootstrap/img/",
        "/bootstrap/x.action",
        "/MirthMail-UI/css/x.png",
    ] {
        assert_eq!(found("GET", path), None, "{path}");
    }
}
