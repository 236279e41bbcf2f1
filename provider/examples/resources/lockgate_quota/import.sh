# user=NAME, client-id=ID, user=NAME,client-id=ID or ip=ADDRESS, with <default> for a default.
# Inside a name , is written %2C, and % is written %25.
terraform import lockgate_quota.billing user=billing
