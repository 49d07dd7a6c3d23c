//! Clusters, and groups with sentinels.

use super::*;

#[tokio::test]
async fn a_cluster_of_three_nodes_is_one_store_and_a_lost_node_lets_nobody_in() {
    let mut nodes = Store::cluster().await;
    let sites = ["default", "bank", "club", "shop", "blog", "news"].map(|namespace| {
        let folder = on_failure("Deny");
        let path = folder.path().join("site.yaml");
        let site = fs::read_to_string(&path).unwrap();
        fs::write(&path, site.replace("metadata: {name: ", &format!("metadata: {{namespace: {namespace}, name: ")))
            .unwrap();
        folder
    });
    let url = format!("redis-cluster://127.0.0.1:{},127.0.0.1:{}", nodes[0].port, nodes[1].port);
    let (mut gateways, mut homes) = (Vec::new(), Vec::new());
    for site in &sites {
        let [one, two] = [replica(site.path(), &url, &[]).await, replica(site.path(), &url, &[]).await];
        assert_eq!((passing(&one, "a", 6).await, passing(&two, "a", 100).await), (6, 4));
        gateways.push(one);
    }
    for namespace in ["default", "bank", "club", "shop", "blog", "news"] {
        let mut home = None;
        for (at, node) in nodes.iter().enumerate() {
            if !node.tell(&["KEYS", &format!("{{ravelin:{namespace}}}*")]).await.is_empty() {
                home = Some(at);
            }
        }
        homes.push(home.expect("a node has its keys"));
    }
    assert!(homes.iter().any(|home| *home != homes[0]), "namespaces are spread: {homes:?}");
    nodes[homes[0]].kill().await;
    let mut client = Client::connect(gateways[0].http(), Protocol::Http1).await.unwrap();
    assert_eq!(ask(&mut client, "b").await.status, 503);
}

#[tokio::test]
async fn the_master_that_a_sentinel_names_is_the_store() {
    let master = Store::start(&[]).await;
    let sentinel = Store::sentinel(&master).await;
    let site = on_failure("Deny");
    let url = format!("redis-sentinel://127.0.0.1:{}/main", sentinel.port);
    let (one, two) = (replica(site.path(), &url, &[]).await, replica(site.path(), &url, &[]).await);
    assert_eq!((passing(&one, "a", 6).await, passing(&two, "a", 100).await), (6, 4));
    assert!(master.tell(&["KEYS", "*"]).await.contains("few"));
}

#[tokio::test]
async fn when_the_master_is_lost_the_one_that_sentinels_name_next_goes_on_with_its_counts() {
    let mut master = Store::start(&[]).await;
    let copy = master.copy().await;
    let sentinel = Store::sentinel(&master).await;
    let known =
        async { while !sentinel.tell(&["SENTINEL", "replicas", "main"]).await.contains(&copy.port.to_string()) {} };
    tokio::time::timeout(ravelin_echo::client::DEADLINE, known).await.expect("the sentinel does not know of the copy");
    let site = on_failure("Deny");
    let url = format!("redis-sentinel://127.0.0.1:{}/main", sentinel.port);
    let (one, two) = (replica(site.path(), &url, &[]).await, replica(site.path(), &url, &[]).await);
    assert_eq!(passing(&one, "a", 6).await, 6);
    assert_eq!(master.tell(&["WAIT", "1", "10000"]).await, "1");
    master.kill().await;
    for gateway in [&one, &two] {
        connected(gateway, false).await;
    }
    for gateway in [&one, &two] {
        connected(gateway, true).await;
    }
    assert_eq!((passing(&two, "a", 100).await, passing(&one, "b", 100).await), (4, 10));
}
