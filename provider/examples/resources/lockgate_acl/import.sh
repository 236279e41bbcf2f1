# principal|host|operation[,operation]|permission|resource type|resource name|pattern type
# Inside a part | is written %7C, and % is written %25.
terraform import lockgate_acl.billing_reads_orders 'User:billing|*|Describe,Read|Allow|Topic|orders|Literal'
