//! One connection to a server or a cluster, which many requests share.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value, from_redis_value};

/// A connection that many requests share; a clone is the same connection.
#[derive(Clone)]
pub(super) struct Connection {
    /// Tells this connection from those before and after it.
    pub(super) number: u64,
    topology: Topology,
}

#[derive(Clone)]
pub(super) enum Topology {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    pub(super) fn new(number: u64, topology: Topology) -> Self {
        Self { number, topology }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.topology, Topology::Cluster(_))
    }

    /// Publishes `text` on `channel`. Any node of a cluster passes it on to the others, so a dead
    /// node costs some notices, not all.
    pub(super) async fn publish(&mut self, channel: &str, text: &str) -> RedisResult<()> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(channel).arg(text);
        match &mut self.topology {
            Topology::Single(one) => command.query_async(one).await,
            Topology::Cluster(many) => {
                let anywhere = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
                many.route_command(command, anywhere).await.map(drop)
            }
        }
    }
}

impl Connection {
    /// Sends `command` to the server, or to every master of a cluster. The answer of each, with the
    /// node's address in a cluster.
    pub(super) async fn everywhere(
        &mut self,
        command: Cmd,
    ) -> RedisResult<Vec<(Option<String>, Value)>> {
        match &mut self.topology {
            Topology::Single(one) => Ok(vec![(None, command.query_async(one).await?)]),
            Topology::Cluster(many) => {
                let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                let Value::Map(answers) = many.route_command(command, masters).await? else {
                    return Ok(Vec::new());
                };
                answers
                    .into_iter()
                    .map(|(node, answer)| Ok((Some(from_redis_value(node)?), answer)))
                    .collect()
            }
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match &mut self.topology {
            Topology::Single(one) => one.req_packed_command(cmd),
            Topology::Cluster(many) => many.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match &mut self.topology {
            Topology::Single(one) => one.req_packed_commands(pipeline, offset, count),
            Topology::Cluster(many) => many.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match &self.topology {
            Topology::Single(one) => one.get_db(),
            Topology::Cluster(many) => many.get_db(),
        }
    }
}
