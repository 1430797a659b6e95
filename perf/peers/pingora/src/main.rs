//! A plain proxy on Pingora: one thread, connections to the vendor kept.

use async_trait::async_trait;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

struct Forward {
    vendor: String,
}

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.vendor.as_str(), false, String::new())))
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (listen, vendor) = (args.next().expect("where to listen"), args.next().expect("where to forward to"));
    let conf = ServerConf { threads: 1, upstream_keepalive_pool_size: 9_000, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, Forward { vendor });
    proxy.add_tcp(&listen);
    server.add_service(proxy);
    server.run_forever();
}
