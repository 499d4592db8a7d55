"""Writes overture.parquet and foursquare.parquet to the folder that is named. Needs pyarrow."""
import pyarrow as pa, pyarrow.parquet as pq, struct, sys
out=sys.argv[1]+'/'
wkb=lambda x,y: struct.pack('<BIdd',1,1,x,y)
addr=pa.list_(pa.struct([('freeform',pa.string()),('locality',pa.string()),('postcode',pa.string()),('region',pa.string()),('country',pa.string())]))
names=pa.struct([('primary',pa.string()),('common',pa.map_(pa.string(),pa.string()))])
cats=pa.struct([('primary',pa.string()),('alternate',pa.list_(pa.string()))])
schema=pa.schema([('id',pa.string()),('geometry',pa.binary()),('bbox',pa.struct([('xmin',pa.float32())])),('names',names),('categories',cats),('confidence',pa.float64()),('websites',pa.list_(pa.string())),('addresses',addr),('operating_status',pa.string())])
row=lambda i,x,y,n,c,conf=1.0,a=None,st='open': dict(id=i,geometry=wkb(x,y) if x is not None else None,bbox={'xmin':0},names={'primary':n,'common':[('fi','N')]},categories={'primary':c,'alternate':['eat_and_drink']} if c else None,confidence=conf,websites=['https://example.org'],addresses=a,operating_status=st)
rows=[row('08f1126d-1',24.9414,60.1699,'Kahvila Ö','coffee_shop',1.0,[{'freeform':'Mannerheimintie 1','locality':'Helsinki','postcode':'00100','region':None,'country':'FI'}]),
 row('08f1126d-2',180.0,-16.5,'Date Line Diner','diner',0.2),
 row('08f1126d-3',24.95,60.17,'Gone','museum',1.0,None,'permanently_closed'),
 row('08f1126d-4',24.95,60.17,None,'museum'),
 row('08f1126d-5',None,None,'Nowhere','museum'),
 row('08f1126d-6',0.0,0.0,'Null Island','no_such_category',0.5)]
pq.write_table(pa.Table.from_pylist(rows,schema=schema),out+'overture.parquet',compression='zstd',row_group_size=2)
s2=pa.schema([('fsq_place_id',pa.string()),('name',pa.string()),('latitude',pa.float64()),('longitude',pa.float64()),('address',pa.string()),('locality',pa.string()),('region',pa.string()),('country',pa.string()),('date_closed',pa.string()),('fsq_category_labels',pa.list_(pa.string()))])
r=lambda *v: dict(zip(s2.names,v))
rows=[r('4b05-a','Sushi Ya',60.1701,24.9402,'Kaivokatu 2','Helsinki',None,'FI',None,['Dining and Drinking > Restaurant > Asian Restaurant > Sushi Restaurant']),
 r('4b05-b','Old Bank',60.17,24.94,None,None,None,None,'2020-01-01',['Business and Professional Services > Financial Service > Banking and Finance > Bank']),
 r('4b05-c','Ateneum',60.17,24.944,None,'Helsinki','Uusimaa','FI',None,['Arts and Entertainment > Museum > Art Museum','Retail']),
 r('4b05-d','Off',91.0,0.0,None,None,None,None,None,None)]
pq.write_table(pa.Table.from_pylist(rows,schema=s2),out+'foursquare.parquet',compression='snappy')
