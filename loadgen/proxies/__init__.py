"""TCP proxies before the listeners of a cluster, which know enough of Kafka to cut or slow one link among many."""
