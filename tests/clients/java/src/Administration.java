import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.DescribeTopicsResult;
import org.apache.kafka.clients.admin.ListOffsetsResult;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.admin.UserScramCredentialDeletion;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.quota.ClientQuotaFilterComponent;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/** What the admin client of every version can do. */
final class Administration {
    private static final String TOPIC = Settings.PREFIX + "admin";
    private static final String USER = Settings.PREFIX + "user";

    private Administration() {}

    static String all() throws Exception {
        try (Admin admin = Settings.admin()) {
            topics(admin);
            records(admin);
            acls(admin);
            users(admin);
            quotas(admin);
            groups(admin);
            cluster(admin);
            admin.deleteTopics(Collections.singleton(TOPIC)).all().get();
            Settings.until("the topic is gone", () -> !admin.listTopics().names().get().contains(TOPIC));
        }
        return "topics, records, ACLs, users, quotas, groups, cluster";
    }

    private static void topics(Admin admin) throws Exception {
        NewTopic wanted = new NewTopic(TOPIC, 2, (short) 1).configs(Collections.singletonMap("retention.ms", "60000"));
        admin.createTopics(Collections.singleton(wanted)).all().get();
        Settings.check(config(admin, "retention.ms").equals("60000"), "the config of the new topic");
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, TOPIC);
        AlterConfigOp set = new AlterConfigOp(new ConfigEntry("retention.ms", "120000"), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Collections.singletonMap(resource, Collections.singleton(set))).all().get();
        Settings.check(config(admin, "retention.ms").equals("120000"), "the config after the change");
        admin.createPartitions(Collections.singletonMap(TOPIC, NewPartitions.increaseTo(3))).all().get();
        Settings.check(described(admin).partitions().size() == 3, "the partitions after the growth");
        Settings.check(admin.listTopics().names().get().contains(TOPIC), "the topic is not listed");
    }

    private static String config(Admin admin, String name) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, TOPIC);
        return admin.describeConfigs(Collections.singleton(resource)).all().get().get(resource).get(name).value();
    }

    /** The method that gives all descriptions has another name since 3.1. */
    @SuppressWarnings("unchecked")
    private static TopicDescription described(Admin admin) throws Exception {
        DescribeTopicsResult result = admin.describeTopics(Collections.singleton(TOPIC));
        Object future;
        try {
            future = DescribeTopicsResult.class.getMethod("allTopicNames").invoke(result);
        } catch (NoSuchMethodException old) {
            future = DescribeTopicsResult.class.getMethod("all").invoke(result);
        }
        return ((KafkaFuture<Map<String, TopicDescription>>) future).get().get(TOPIC);
    }

    private static void records(Admin admin) throws Exception {
        TopicPartition place = new TopicPartition(TOPIC, 0);
        try (KafkaProducer<String, String> producer = Settings.producer()) {
            for (int i = 0; i < 10; i++) {
                producer.send(new ProducerRecord<>(TOPIC, 0, (long) (1_700_000_000_000L + i), null, "" + i));
            }
            producer.flush();
        }
        Settings.check(offset(admin, place, OffsetSpec.latest()) == 10, "the latest offset");
        Settings.check(offset(admin, place, OffsetSpec.forTimestamp(1_700_000_000_004L)) == 4, "the offset of a time");
        long low = admin.deleteRecords(Collections.singletonMap(place, RecordsToDelete.beforeOffset(4)))
                .lowWatermarks().get(place).get().lowWatermark();
        Settings.check(low == 4 && offset(admin, place, OffsetSpec.earliest()) == 4, "the low watermark is " + low);
    }

    private static long offset(Admin admin, TopicPartition place, OffsetSpec spec) throws Exception {
        Map<TopicPartition, ListOffsetsResult.ListOffsetsResultInfo> found =
                admin.listOffsets(Collections.singletonMap(place, spec)).all().get();
        return found.get(place).offset();
    }

    private static void acls(Admin admin) throws Exception {
        AclBinding binding = new AclBinding(
                new ResourcePattern(ResourceType.TOPIC, TOPIC, PatternType.LITERAL),
                new AccessControlEntry("User:" + USER, "*", AclOperation.READ, AclPermissionType.ALLOW));
        AclBindingFilter filter = binding.toFilter();
        admin.createAcls(Collections.singleton(binding)).all().get();
        Collection<AclBinding> found = admin.describeAcls(filter).values().get();
        Settings.check(found.equals(Collections.singletonList(binding)), "the ACL: " + found);
        Collection<AclBinding> deleted = admin.deleteAcls(Collections.singleton(filter)).all().get();
        Settings.check(deleted.size() == 1 && admin.describeAcls(filter).values().get().isEmpty(), "deleted: " + deleted);
    }

    private static void users(Admin admin) throws Exception {
        ScramCredentialInfo info = new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 8192);
        admin.alterUserScramCredentials(Collections.singletonList(new UserScramCredentialUpsertion(USER, info, "a password")))
                .all().get();
        List<ScramCredentialInfo> infos =
                admin.describeUserScramCredentials(Collections.singletonList(USER)).description(USER).get().credentialInfos();
        Settings.check(infos.equals(Collections.singletonList(info)), "the credential: " + infos);
        admin.alterUserScramCredentials(
                        Collections.singletonList(new UserScramCredentialDeletion(USER, ScramMechanism.SCRAM_SHA_512)))
                .all().get();
    }

    private static void quotas(Admin admin) throws Exception {
        Map<String, String> pair = new HashMap<>();
        pair.put(ClientQuotaEntity.USER, USER);
        pair.put(ClientQuotaEntity.CLIENT_ID, null);
        ClientQuotaEntity entity = new ClientQuotaEntity(pair);
        alter(admin, entity, 1048576.0);
        ClientQuotaFilter filter = ClientQuotaFilter.containsOnly(Arrays.asList(
                ClientQuotaFilterComponent.ofEntity(ClientQuotaEntity.USER, USER),
                ClientQuotaFilterComponent.ofDefaultEntity(ClientQuotaEntity.CLIENT_ID)));
        Map<ClientQuotaEntity, Map<String, Double>> found = admin.describeClientQuotas(filter).entities().get();
        Settings.check(
                found.equals(Collections.singletonMap(entity, Collections.singletonMap("producer_byte_rate", 1048576.0))),
                "the quota: " + found);
        alter(admin, entity, null);
        Settings.check(admin.describeClientQuotas(filter).entities().get().isEmpty(), "the quota stays");
    }

    private static void alter(Admin admin, ClientQuotaEntity entity, Double rate) throws Exception {
        ClientQuotaAlteration.Op op = new ClientQuotaAlteration.Op("producer_byte_rate", rate);
        admin.alterClientQuotas(Collections.singleton(new ClientQuotaAlteration(entity, Collections.singleton(op))))
                .all().get();
    }

    private static void groups(Admin admin) throws Exception {
        String group = Settings.PREFIX + "admin-group";
        TopicPartition place = new TopicPartition(TOPIC, 0);
        try (KafkaConsumer<String, String> consumer = Settings.consumer("admin-group")) {
            consumer.assign(Collections.singleton(place));
            consumer.commitSync(Collections.singletonMap(place, new OffsetAndMetadata(5, "five")));
        }
        OffsetAndMetadata committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(place);
        Settings.check(committed.offset() == 5 && committed.metadata().equals("five"), "committed: " + committed);
        boolean listed = admin.listConsumerGroups().all().get().stream().anyMatch(one -> one.groupId().equals(group));
        Settings.check(listed, "the group is not listed");
        admin.alterConsumerGroupOffsets(group, Collections.singletonMap(place, new OffsetAndMetadata(7))).all().get();
        committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(place);
        Settings.check(committed.offset() == 7, "after the change: " + committed);
        String state = admin.describeConsumerGroups(Collections.singleton(group)).all().get().get(group).state().toString();
        Settings.check(state.equals("Empty"), "the group is " + state);
        admin.deleteConsumerGroups(Collections.singleton(group)).all().get();
    }

    private static void cluster(Admin admin) throws Exception {
        Settings.check(!admin.describeCluster().clusterId().get().isEmpty(), "no cluster id");
        int node = admin.describeCluster().controller().get().id();
        boolean there = admin.describeLogDirs(Collections.singleton(node)).allDescriptions().get().get(node).values().stream()
                .anyMatch(folder -> folder.replicaInfos().keySet().stream().anyMatch(one -> one.topic().equals(TOPIC)));
        Settings.check(there, "no log folder has the topic");
        Settings.check(admin.describeFeatures().featureMetadata().get() != null, "no features");
    }
}
