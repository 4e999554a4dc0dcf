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
fn no_folder_is_listed_and_nothing_else_is_served() {
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
