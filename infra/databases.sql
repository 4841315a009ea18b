CREATE DATABASE prefect OWNER chainrule;
