CREATE DATABASE auth OWNER chainrule;
CREATE DATABASE prefect OWNER chainrule;
